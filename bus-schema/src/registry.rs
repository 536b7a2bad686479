//! Every command in one table, for the documentation and for the permission check.

use crate::{
    app, certificate,
    command::{Command, Retry},
    control, health, host,
    ids::ServiceName,
    leadership, local, lock, remote, route, session, volume,
};

/// One command's card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandCard {
    pub name: &'static str,
    pub owner: ServiceName,
    pub retry: Retry,
    /// Empty: every service.
    pub callers: &'static [ServiceName],
}

const fn card<C: Command>() -> CommandCard {
    CommandCard {
        name: C::NAME,
        owner: C::OWNER,
        retry: C::RETRY,
        callers: C::CALLERS,
    }
}

/// All commands, grouped by owner.
pub const COMMANDS: &[CommandCard] = &[
    card::<lock::Status>(),
    card::<lock::Setup>(),
    card::<lock::Unlock>(),
    card::<lock::Lock>(),
    card::<lock::ResetPassword>(),
    card::<lock::ChangePassword>(),
    card::<lock::GenerateRecoveryKey>(),
    card::<session::Open>(),
    card::<session::Check>(),
    card::<session::List>(),
    card::<session::Close>(),
    card::<control::Commit>(),
    card::<control::Read>(),
    card::<control::ReadSecret>(),
    card::<control::ReadRevision>(),
    card::<control::Verify>(),
    card::<local::Write>(),
    card::<local::ReadJobs>(),
    card::<local::ReadPorts>(),
    card::<local::RecordAudit>(),
    card::<local::ReadAudit>(),
    card::<volume::Attach>(),
    card::<volume::Detach>(),
    card::<volume::Erase>(),
    card::<volume::List>(),
    card::<leadership::Show>(),
    card::<leadership::Simulate>(),
    card::<host::Mount>(),
    card::<host::Unmount>(),
    card::<host::ListMounts>(),
    card::<host::SetEgress>(),
    card::<host::ReadUpdates>(),
    card::<host::ReadDevice>(),
    card::<app::List>(),
    card::<app::Validate>(),
    card::<app::Plan>(),
    card::<app::Install>(),
    card::<app::Act>(),
    card::<app::ReadLogs>(),
    card::<app::ListEndpoints>(),
    card::<app::StopForLock>(),
    card::<route::List>(),
    card::<route::PublishChallenge>(),
    card::<route::RemoveChallenge>(),
    card::<route::Withdraw>(),
    card::<remote::Configure>(),
    card::<remote::Disable>(),
    card::<remote::Status>(),
    card::<certificate::List>(),
    card::<certificate::Renew>(),
    card::<health::Report>(),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_command_has_a_name_of_its_own() {
        let names: HashSet<_> = COMMANDS.iter().map(|card| card.name).collect();
        assert_eq!(names.len(), COMMANDS.len());
    }
}
