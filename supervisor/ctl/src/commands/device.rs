//! `setup`, `unlock`, `lock`.

use super::or_empty;
use crate::{
    Failure, Screen,
    arguments::PasswordSource,
    http::{Api, Call},
    secret::Secret,
    view::RecoveryKey,
};
use bytes::Bytes;
use serde::Serialize;
use zeroize::Zeroizing;

const OPTION: &str = "--password-file";

#[derive(Serialize)]
struct PasswordBody<'a> {
    password: &'a str,
}

/// A JSON body that is wiped when it has been sent.
pub(super) fn wiped(body: &impl Serialize) -> Result<Bytes, Failure> {
    let body = serde_json::to_vec(body).map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(Bytes::from_owner(Zeroizing::new(body)))
}

fn password_body(password: &Secret) -> Result<Bytes, Failure> {
    wiped(&PasswordBody {
        password: password.expose(),
    })
}

pub(super) async fn setup(
    api: &Api,
    screen: &Screen,
    source: &PasswordSource,
) -> Result<(), Failure> {
    let file = source.password_file.as_deref();
    let password = Secret::choose(file, "New owner's password", OPTION)?;
    let call = Call::post("/api/v1/crypto/setup").json(password_body(&password)?);
    let answer = api.call(call).await?;
    let key: RecoveryKey = answer.parse()?;
    screen.show(&answer.value()?, || {
        format!(
            "The device is set up and unlocked.\n\n\
             Write these 24 words down and keep them away from the device. They open it when the\n\
             password is forgotten, and they are shown only now.\n\n{}",
            numbered(&key.recovery_key)
        )
    });
    Ok(())
}

/// Four words a line, each with its number.
fn numbered(words: &[String]) -> String {
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        let cell = format!("{:2}. {word}", index + 1);
        text.push_str(&format!("{cell:16}"));
        if index % 4 == 3 {
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
    }
    text
}

pub(super) async fn unlock(
    api: &Api,
    screen: &Screen,
    source: &PasswordSource,
) -> Result<(), Failure> {
    let file = source.password_file.as_deref();
    let password = Secret::obtain(file, "Owner's password", OPTION)?;
    let call = Call::post("/api/v1/crypto/unlock").json(password_body(&password)?);
    let answer = api.call(call).await?;
    screen.show(&or_empty(answer.value()?), || {
        "The device is unlocked.".to_owned()
    });
    Ok(())
}

pub(super) async fn lock(api: &Api, screen: &Screen) -> Result<(), Failure> {
    let answer = api.call(Call::post("/api/v1/crypto/lock")).await?;
    screen.show(&or_empty(answer.value()?), || {
        "The device is locked.".to_owned()
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_numbered_four_a_line() {
        let words: Vec<_> = (0..5).map(|number| format!("word{number}")).collect();
        assert_eq!(
            numbered(&words).trim_end(),
            " 1. word0        2. word1        3. word2        4. word3\n 5. word4"
        );
    }
}
