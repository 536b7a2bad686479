//! The one firewall table of the apps: loaded whole, kept, and put back when something flushes it.
//!
//! The engine's rules stand beside it; ours come first (priority -10) and only ever take away.

mod ruleset;

pub(crate) use ruleset::{Bridge, Rule};

use crate::program::{self, Finished, ProgramError};
use piccolo_bus_schema::health::Level;
use piccolo_runtime::Board;
use std::time::Duration;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// `nft` answers in tens of milliseconds; on a board under load in seconds.
const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const NEXT_STEP: &str = "install nftables";

/// Why the table does not stand as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FirewallError {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("the firewall table is refused by the kernel: {complaint}")]
    Refused { complaint: String },
}

/// What was loaded last.
#[derive(Debug)]
struct Loaded {
    /// What loads it again.
    script: String,
    /// How `nft` lists it: anything else was done by someone else.
    listing: String,
}

/// Owner of table `inet piccolo`.
pub(crate) struct Firewall {
    board: Board,
    loaded: Mutex<Option<Loaded>>,
}

impl Firewall {
    pub(crate) fn new(board: Board) -> Self {
        Self {
            board,
            loaded: Mutex::new(None),
        }
    }

    /// Adopts the table of an earlier life of this process, so that running apps keep what they
    /// were allowed; without one, everything from apps is dropped.
    pub(crate) async fn start(&self) {
        let mut loaded = self.loaded.lock().await;
        let outcome = match list().await {
            Ok(Some(listing)) => {
                let script = ruleset::replace(&listing);
                *loaded = Some(Loaded { script, listing });
                Ok(())
            }
            Ok(None) => load(&mut loaded, ruleset::table(&[])).await,
            Err(error) => Err(error),
        };
        self.tell(&outcome);
    }

    /// Replaces all rules in one transaction: at no moment is anything open that is open neither
    /// before nor after.
    pub(crate) async fn set(&self, rules: &[Rule]) -> Result<(), FirewallError> {
        let mut loaded = self.loaded.lock().await;
        let outcome = load(&mut loaded, ruleset::table(rules)).await;
        self.tell(&outcome);
        outcome
    }

    /// Puts the table back when it is gone or changed.
    pub(crate) async fn check(&self) {
        let mut loaded = self.loaded.lock().await;
        let outcome = match (list().await, loaded.as_ref()) {
            (Ok(Some(listing)), Some(known)) if listing == known.listing => Ok(()),
            (Ok(_), Some(known)) => {
                tracing::warn!("the firewall table was changed by someone else, loading it again");
                let script = known.script.clone();
                load(&mut loaded, script).await
            }
            (Ok(_), None) => load(&mut loaded, ruleset::table(&[])).await,
            (Err(error), _) => Err(error),
        };
        self.tell(&outcome);
    }

    fn tell(&self, outcome: &Result<(), FirewallError>) {
        match outcome {
            Ok(()) => self.board.ok("firewall", "apps reach only what they may"),
            Err(error) => {
                let words = format!("{error}; apps are not started without it; {NEXT_STEP}");
                self.board.set("firewall", Level::Warn, words);
            }
        }
    }
}

async fn load(loaded: &mut Option<Loaded>, script: String) -> Result<(), FirewallError> {
    let input = Zeroizing::new(script.clone().into_bytes());
    let done = nft(&["-f", "-"], Some(input)).await?;
    if !done.is_success() {
        let complaint = done.stderr.lines().next().unwrap_or("no reason").to_owned();
        return Err(FirewallError::Refused { complaint });
    }
    // A table that is gone again at once is found by the next check.
    let listing = list().await?.unwrap_or_default();
    *loaded = Some(Loaded { script, listing });
    Ok(())
}

/// The table as `nft` writes it; `None` when there is none.
async fn list() -> Result<Option<String>, FirewallError> {
    let listed = nft(&["--stateless", "list", "table", "inet", "piccolo"], None).await?;
    Ok(listed.is_success().then_some(listed.stdout))
}

async fn nft(
    arguments: &[&str],
    input: Option<Zeroizing<Vec<u8>>>,
) -> Result<Finished, ProgramError> {
    program::run("nft", arguments, input, PATIENCE).await
}
