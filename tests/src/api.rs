//! The owner's part of the API: cookie, CSRF token, waiting for jobs.

use crate::{
    Result,
    http_client::{self, Answer, Target, request},
    wait,
};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};

/// One browser.
pub struct Api {
    target: Target,
    host: String,
    cookie: Option<String>,
    csrf: Option<String>,
}

impl Api {
    /// A browser that was never here before.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            target: Target::Plain(address),
            host: address.to_string(),
            cookie: None,
            csrf: None,
        }
    }

    /// A browser that comes in by another way, e.g. TLS through the relay.
    pub const fn over(target: Target, host: String) -> Self {
        Self {
            target,
            host,
            cookie: None,
            csrf: None,
        }
    }

    /// Sends a request as it is now signed in.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        kind: Option<&str>,
        more: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer> {
        let mut headers: Vec<(&str, &str)> = more.to_vec();
        if let Some(kind) = kind {
            headers.push(("content-type", kind));
        }
        if let Some(cookie) = &self.cookie {
            headers.push(("cookie", cookie));
        }
        if let Some(csrf) = &self.csrf {
            headers.push(("x-csrf-token", csrf));
        }
        let request = request(method, path, &self.host, &headers, body.to_owned())?;
        http_client::send(&self.target, request).await
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, None, &[], "").await
    }

    /// POST with JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(
            "POST",
            path,
            Some("application/json"),
            &[],
            &body.to_string(),
        )
        .await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send("DELETE", path, None, &[], "").await
    }

    fn keep_cookie(&mut self, answer: &Answer) {
        let set = answer
            .headers
            .get("set-cookie")
            .and_then(|value| value.to_str().ok());
        if let Some(pair) = set.and_then(|cookie| cookie.split(';').next()) {
            self.cookie = Some(pair.to_owned());
        }
    }

    async fn fetch_csrf(&mut self) -> Result<()> {
        let answer = self.get("/api/v1/auth/csrf").await?.expect(200)?;
        self.csrf = answer.json()?["token"].as_str().map(str::to_owned);
        Ok(())
    }

    /// First boot: sets the password; the 24 words.
    pub async fn set_up(&mut self, password: &str) -> Result<Vec<String>> {
        let body = json!({ "password": password });
        let answer = self
            .post("/api/v1/crypto/setup", &body)
            .await?
            .expect(201)?;
        self.keep_cookie(&answer);
        self.fetch_csrf().await?;
        let words = answer.json()?["recovery_key"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        Ok(words
            .iter()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect())
    }

    /// Signs in; unlocks as well.
    pub async fn sign_in(&mut self, password: &str) -> Result<()> {
        self.csrf = None;
        let body = json!({ "password": password });
        let answer = self.post("/api/v1/auth/login", &body).await?.expect(200)?;
        self.keep_cookie(&answer);
        self.fetch_csrf().await
    }

    /// Waits until `/health/ready` says a status.
    pub async fn health(&self, status: &str, limit: Duration) -> Result<Value> {
        wait::until(&format!("health `{status}`"), limit, || async {
            let answer = self.get("/health/ready").await?;
            let health = answer.json()?;
            if health["status"] == status {
                Ok(health)
            } else {
                Err(health.to_string().into())
            }
        })
        .await
    }

    /// Installs an app and waits for its job; the app.
    pub async fn install(&self, spec: &str) -> Result<Value> {
        let answer = self
            .send("POST", "/api/v1/apps", Some("application/yaml"), &[], spec)
            .await?
            .expect(202)?;
        let accepted = answer.json()?;
        self.job_done(accepted["job"].as_str().unwrap_or_default())
            .await?;
        self.app(accepted["app"].as_str().unwrap_or_default()).await
    }

    /// One app as the API shows it.
    pub async fn app(&self, name: &str) -> Result<Value> {
        self.get(&format!("/api/v1/apps/{name}"))
            .await?
            .expect(200)?
            .json()
    }

    /// Waits until a job is done; its failure is the error.
    pub async fn job_done(&self, id: &str) -> Result<Value> {
        let job = wait::until(&format!("job {id}"), Duration::from_secs(120), || async {
            let job = self
                .get(&format!("/api/v1/jobs/{id}"))
                .await?
                .expect(200)?
                .json()?;
            if job["state"] == "running" {
                Err(job.to_string().into())
            } else {
                Ok(job)
            }
        })
        .await?;
        if job["state"] == "done" {
            Ok(job)
        } else {
            Err(format!("the job failed: {job}").into())
        }
    }

    /// Acts on an app (`start`, `stop`, …) and waits for the job.
    pub async fn act(&self, app: &str, action: &str) -> Result<Value> {
        let path = format!("/api/v1/apps/{app}/{action}");
        let accepted = self
            .send("POST", &path, None, &[], "")
            .await?
            .expect(202)?
            .json()?;
        self.job_done(accepted["job"].as_str().unwrap_or_default())
            .await
    }
}
