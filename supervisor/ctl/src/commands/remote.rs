//! `remote`, `certificate`.

use super::{device::wiped, finish, or_empty, segment};
use crate::{
    Failure, Screen,
    arguments::{Certificate, Remote},
    http::{Api, Call},
    secret::Secret,
    status::{certificate_table, remote_text},
    view,
};
use serde::Serialize;

#[derive(Serialize)]
struct ConfigureBody<'a> {
    endpoint: &'a str,
    device_secret: &'a str,
    tld: &'a str,
    portal_hostname: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    acme_email: Option<&'a str>,
}

pub(super) async fn run(api: &Api, screen: &Screen, verb: Remote) -> Result<(), Failure> {
    let answer = match verb {
        Remote::Show => api.call(Call::get("/api/v1/remote/status")).await?,
        Remote::Configure {
            endpoint,
            tld,
            portal_hostname,
            acme_email,
            secret_file,
        } => {
            let file = secret_file.as_deref();
            let secret = Secret::obtain(file, "Device secret", "--secret-file")?;
            let body = wiped(&ConfigureBody {
                endpoint: &endpoint,
                device_secret: secret.expose(),
                tld: &tld,
                portal_hostname: &portal_hostname,
                acme_email: acme_email.as_deref(),
            })?;
            let call = Call::post("/api/v1/remote/configure").json(body);
            api.call(call).await?
        }
        Remote::Disable => {
            let answer = api.call(Call::post("/api/v1/remote/disable")).await?;
            let done = || "Remote access is off.".to_owned();
            screen.show(&or_empty(answer.value()?), done);
            return Ok(());
        }
    };
    let remote: view::Remote = answer.parse()?;
    screen.show(&answer.value()?, || remote_text(&remote));
    Ok(())
}

pub(super) async fn certificate(
    api: &Api,
    screen: &Screen,
    verb: Certificate,
) -> Result<(), Failure> {
    match verb {
        Certificate::List => {
            let answer = api.call(Call::get("/api/v1/remote/certificates")).await?;
            let list: view::Certificates = answer.parse()?;
            screen.show(&answer.value()?, || certificate_table(&list.certificates));
            Ok(())
        }
        Certificate::Renew { id, wait } => {
            let path = format!("/api/v1/remote/certificates/{}/renew", segment(&id));
            let answer = api.call(Call::post(&path)).await?;
            finish(api, screen, &answer, wait, &format!("{id} is renewed.")).await
        }
    }
}
