//! The documents of the API, as far as people are shown them. Unknown members are ignored and
//! missing ones are empty: client and device may be of different age.

use serde::Deserialize;
use serde_json::Value;

macro_rules! documents {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {
        $($(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default)]
        pub(crate) struct $name {
            $(pub(crate) $field: $kind,)*
        })*
    };
}

documents! {
    /// GET `/api/v1/jobs/{id}`.
    Job {
        state: String,
        stage: String,
        progress: u8,
        finished: Option<String>,
        error: Option<Value>,
    }
    /// What started a job.
    Accepted { app: Option<String>, job: Option<String> }
    /// GET `/api/v1/apps/{name}`.
    App {
        name: String,
        status: String,
        detail: Option<String>,
        image: String,
        can_revert: bool,
        listeners: Vec<Listener>,
    }
    Listener {
        name: String,
        guest_port: u16,
        public_port: u16,
        flow: String,
        protocol: String,
        local_url: String,
        remote_url: Option<String>,
        mode: String,
    }
    /// GET `/api/v1/remote/status`.
    Remote {
        state: String,
        since: Option<String>,
        endpoint: Option<String>,
        portal_hostname: Option<String>,
        tld: Option<String>,
        relays: Vec<Relay>,
        last_error: Option<String>,
        next_attempt: Option<String>,
        listeners: Vec<RemoteListener>,
        certificates: Vec<Certificate>,
    }
    Relay {
        endpoint: String,
        state: String,
        round_trip_ms: Option<f64>,
        streams: u32,
    }
    RemoteListener { app: String, name: String, remote_host: String, claimed: bool }
    /// GET `/api/v1/remote/certificates`.
    Certificates { certificates: Vec<Certificate> }
    Certificate {
        id: String,
        status: String,
        issuer: Option<String>,
        expires_at: Option<String>,
        next_attempt: Option<String>,
        last_error: Option<String>,
    }
    /// GET `/api/v1/storage/volumes`.
    Volume {
        id: String,
        class: String,
        state: String,
        mode: Option<String>,
        generation: Option<u64>,
        explanation: Option<String>,
        size: Option<u64>,
    }
    /// POST `/api/v1/storage/verify`.
    Verified { revision: u64, checksum: String, records: u64, commits: u64 }
    /// GET `/api/v1/leadership`.
    Role { resource: String, role: String, leader: Option<String>, epoch: u64 }
    /// GET `/api/v1/audit`.
    AuditEntry {
        sequence: u64,
        at: Option<String>,
        actor: String,
        action: String,
        subject: String,
        outcome: String,
    }
    /// GET `/api/v1/updates/os`.
    Updates {
        driver: String,
        current: Option<String>,
        staged: Option<String>,
        previous: Option<String>,
        last_result: Option<String>,
    }
    /// GET `/health/detail`.
    Health { status: String, ready: bool, components: Vec<Component> }
    Component { name: String, level: String, message: String, role: Option<String> }
    /// GET `/api/v1/system`.
    System {
        version: String,
        uptime: u64,
        identity: Option<Identity>,
        portal: Option<Portal>,
    }
    Identity { hostname: String, os: String }
    Portal { http: String, https: String, lan_fingerprint: String }
    /// POST `/api/v1/crypto/setup`.
    RecoveryKey { recovery_key: Vec<String> }
}
