//! The device's HTTP API, over its Unix socket or over HTTPS.

mod connection;

use crate::{Failure, arguments::Target, secret::Secret};
use ::http::{Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use connection::Route;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Unlocking stretches a key and mounts volumes; nothing else is that slow.
const PATIENCE: Duration = Duration::from_secs(90);
/// Largest answer that is read whole.
const ANSWER_LIMIT: usize = 16 << 20;
const SERVICE: &str = "the API";

/// A client of one device.
pub(crate) struct Api {
    route: Route,
    token: Option<Secret>,
}

/// What to ask.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    method: Method,
    path: &'a str,
    body: Option<(&'static str, Bytes)>,
    accept: &'static str,
}

impl<'a> Call<'a> {
    pub(crate) fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            body: None,
            accept: "application/json",
        }
    }

    /// Without a body.
    pub(crate) fn post(path: &'a str) -> Self {
        let method = Method::POST;
        Self {
            method,
            ..Self::get(path)
        }
    }

    pub(crate) fn delete(path: &'a str) -> Self {
        let method = Method::DELETE;
        Self {
            method,
            ..Self::get(path)
        }
    }

    pub(crate) fn json(mut self, body: Bytes) -> Self {
        self.body = Some(("application/json", body));
        self
    }

    pub(crate) fn yaml(mut self, body: Bytes) -> Self {
        self.body = Some(("application/yaml", body));
        self
    }

    pub(crate) const fn accept(mut self, media: &'static str) -> Self {
        self.accept = media;
        self
    }
}

/// A document, and what it says.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) bytes: Bytes,
}

impl Answer {
    /// The document; `null` for an empty one.
    pub(crate) fn value(&self) -> Result<Value, Failure> {
        if self.bytes.is_empty() {
            return Ok(Value::Null);
        }
        self.parse()
    }

    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.bytes).map_err(|error| garbled(&error.to_string()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Api {
    /// Of the device that the arguments name. Reads the token; connects to nothing yet.
    pub(crate) fn new(target: &Target) -> Result<Self, Failure> {
        let Some(url) = &target.url else {
            let route = Route::unix(&runtime_dir(target));
            return Ok(Self { route, token: None });
        };
        let token = target.token_file.as_deref().map(Secret::read).transpose()?;
        let route = Route::url(url, target.ca_file.as_deref())?;
        Ok(Self { route, token })
    }

    /// Asks and reads the whole answer. Anything but 2xx is a [`Failure::Refused`].
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Answer, Failure> {
        let (_, answer) = self.ask(call).await?;
        Ok(answer)
    }

    /// The same for answers whose status is not about success: health says 503 in words too.
    pub(crate) async fn call_any(&self, call: Call<'_>) -> Result<Answer, Failure> {
        let response = self.within(self.send(call)).await?;
        self.within(read(response.into_body())).await
    }

    async fn ask(&self, call: Call<'_>) -> Result<(StatusCode, Answer), Failure> {
        let response = self.within(self.send(call)).await?;
        let status = response.status();
        let answer = self.within(read(response.into_body())).await?;
        if status.is_success() {
            Ok((status, answer))
        } else {
            Err(refused(status, &answer))
        }
    }

    /// Asks, and gives the lines of the answer as they come, until its end.
    pub(crate) async fn stream(
        &self,
        call: Call<'_>,
        mut line: impl FnMut(&str),
    ) -> Result<(), Failure> {
        let response = self.within(self.send(call)).await?;
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            let answer = self.within(read(body)).await?;
            return Err(refused(status, &answer));
        }
        let mut partial = Vec::new();
        // The device sends something every 15 s, so a silent stream has ended.
        while let Ok(Some(frame)) = tokio::time::timeout(PATIENCE, body.frame()).await {
            let frame = frame.map_err(|error| garbled(&error.to_string()))?;
            partial.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
                let rest = partial.split_off(end + 1);
                line(String::from_utf8_lossy(&partial).trim_end());
                partial = rest;
            }
            if partial.len() > ANSWER_LIMIT {
                return Err(garbled("a line without end"));
            }
        }
        Ok(())
    }

    async fn send(&self, call: Call<'_>) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header(header::HOST, self.route.host())
            .header(header::ACCEPT, call.accept);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let body = match call.body {
            Some((media, body)) => {
                request = request.header(header::CONTENT_TYPE, media);
                Full::new(body)
            }
            None => Full::new(Bytes::new()),
        };
        let request = request
            .body(body)
            .map_err(|error| Failure::Usage(error.to_string()))?;
        self.route.send(request).await
    }

    async fn within<T>(
        &self,
        asking: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let outcome = tokio::time::timeout(PATIENCE, asking).await;
        outcome.unwrap_or(Err(Failure::TooLate {
            service: SERVICE,
            seconds: PATIENCE.as_secs(),
        }))
    }
}

/// Where piccolod's sockets are.
pub(crate) fn runtime_dir(target: &Target) -> PathBuf {
    let given = target.runtime_dir.clone();
    given
        .or_else(|| std::env::var_os("PICCOLO_RUNTIME_DIR").map(PathBuf::from))
        .unwrap_or_else(|| Path::new("/run/piccolo").to_owned())
}

async fn read(body: Incoming) -> Result<Answer, Failure> {
    let collected = Limited::new(body, ANSWER_LIMIT).collect().await;
    match collected {
        Ok(collected) => Ok(Answer {
            bytes: collected.to_bytes(),
        }),
        Err(error) => Err(garbled(&error.to_string())),
    }
}

fn refused(status: StatusCode, answer: &Answer) -> Failure {
    let title = status.canonical_reason().unwrap_or("Refused");
    Failure::refused(status.as_u16(), title, &answer.bytes)
}

fn garbled(why: &str) -> Failure {
    Failure::Garbled {
        service: SERVICE,
        why: why.to_owned(),
    }
}
