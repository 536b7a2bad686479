//! What each noun and verb does.

mod app;
mod device;
mod overview;
mod platform;
mod remote;
mod service;

use crate::{
    Arguments, Failure, Screen,
    arguments::{Noun, Wait},
    control::Control,
    http::{Answer, Api, runtime_dir},
    job,
    view::Accepted,
};
use serde_json::Value;

/// The device a command speaks to.
pub(crate) struct Device {
    pub(crate) api: Api,
    /// `None` for a device elsewhere.
    pub(crate) control: Option<Control>,
}

/// Does what the arguments say.
pub async fn run(arguments: Arguments, screen: &Screen) -> Result<(), Failure> {
    let target = &arguments.target;
    let local = target.url.is_none();
    let device = Device {
        api: Api::new(target)?,
        control: local.then(|| Control::new(&runtime_dir(target))),
    };
    let api = &device.api;
    match arguments.noun {
        Noun::Status => overview::show(&device, screen).await,
        Noun::Service(verb) => service::run(&device, screen, verb).await,
        Noun::Setup(source) => device::setup(api, screen, &source).await,
        Noun::Unlock(source) => device::unlock(api, screen, &source).await,
        Noun::Lock => device::lock(api, screen).await,
        Noun::App(verb) => app::run(api, screen, verb).await,
        Noun::Remote(verb) => remote::run(api, screen, verb).await,
        Noun::Certificate(verb) => remote::certificate(api, screen, verb).await,
        Noun::Volume(verb) => platform::volume(api, screen, &verb).await,
        Noun::Store(verb) => platform::store(api, screen, &verb).await,
        Noun::Leadership(verb) => platform::leadership(api, screen, verb).await,
        Noun::Audit(verb) => platform::audit(api, screen, &verb).await,
        Noun::Update(verb) => platform::update(api, screen, &verb).await,
    }
}

/// Follows the job an answer speaks of, unless told not to; then says `done`.
async fn finish(
    api: &Api,
    screen: &Screen,
    answer: &Answer,
    wait: Wait,
    done: &str,
) -> Result<(), Failure> {
    let accepted: Accepted = answer.parse()?;
    let Some(id) = accepted.job else {
        screen.show(&answer.value()?, || done.to_owned());
        return Ok(());
    };
    if wait.no_wait {
        screen.show(&answer.value()?, || format!("Recorded as job {id}."));
        return Ok(());
    }
    let job = job::wait(api, screen, &id).await?;
    screen.show(&job, || done.to_owned());
    Ok(())
}

/// One segment of a path: whatever a name holds, it stays one segment (RFC 3986 section 2.1).
fn segment(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// A document without members is still a document.
fn or_empty(value: Value) -> Value {
    if value.is_null() {
        serde_json::json!({})
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_leave_its_segment() {
        assert_eq!(segment("blog"), "blog");
        assert_eq!(segment("../x?y"), "..%2Fx%3Fy");
    }
}
