//! The container engine, through the Docker Engine API.

use crate::{
    error::EngineError,
    identity::{APP_LABEL, PRINT_LABEL, bridge, network},
    logs::Logs,
    spec::{Root, Spec, image_parts, is_local_image},
};
use bollard::{
    API_DEFAULT_VERSION, Docker,
    container::AttachContainerResults,
    models::{
        ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum, HostConfig,
        HostConfigLogConfig, NetworkCreateRequest, PortBinding, ResourcesUlimits, RestartPolicy,
        RestartPolicyNameEnum,
    },
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, CreateImageOptionsBuilder,
        EventsOptions, InspectContainerOptions, InspectNetworkOptions,
        ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
    },
};
use futures_util::StreamExt;
use piccolo_bus_schema::ids::AppName;
use std::{collections::HashMap, path::Path, time::Duration};

/// Seconds one request may take; pulls stream and are not bound by it.
const REQUEST: u64 = 60;
/// Seconds a container has to end by itself.
const GRACE: i32 = 10;
/// What is left of a container's capabilities: enough to change user and bind a low port.
const CAPABILITIES: [&str; 7] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "SETUID",
    "SETGID",
    "NET_BIND_SERVICE",
    "KILL",
];

/// A container of ours, as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) id: String,
    pub(crate) app: AppName,
    pub(crate) print: String,
    pub(crate) running: bool,
}

/// What a container is made from besides its spec.
pub(crate) struct Making<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) name: String,
    pub(crate) print: String,
    /// Image by id, so that a moved tag changes nothing by itself.
    pub(crate) image: String,
    /// Host directory and container path.
    pub(crate) binds: Vec<(String, String)>,
    /// Guest port and loopback port.
    pub(crate) ports: Vec<(u16, u16)>,
}

/// The engine's API.
#[derive(Clone)]
pub(crate) struct Engine {
    docker: Docker,
}

impl Engine {
    /// Connects; the first request tells whether somebody answers.
    pub(crate) async fn connect(socket: &Path) -> Result<Self, EngineError> {
        let path = socket.to_string_lossy();
        let docker =
            Docker::connect_with_unix(&path, REQUEST, API_DEFAULT_VERSION).map_err(away)?;
        let docker = docker.negotiate_version().await.map_err(away)?;
        Ok(Self { docker })
    }

    /// The engine's version.
    pub(crate) async fn version(&self) -> Result<String, EngineError> {
        let version = self.docker.version().await.map_err(away)?;
        Ok(version.version.unwrap_or_default())
    }

    /// Waits until something happens to a container, or the engine goes away.
    pub(crate) async fn next_event(&self) {
        let mut events = self.docker.events(None::<EventsOptions>);
        while let Some(Ok(event)) = events.next().await {
            if matches!(
                event.action.as_deref(),
                Some("die" | "start" | "destroy" | "oom")
            ) {
                return;
            }
        }
    }

    /// All containers of ours.
    pub(crate) async fn list(&self) -> Result<Vec<Observed>, EngineError> {
        let filters = HashMap::from([("label", vec![APP_LABEL])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let list = self
            .docker
            .list_containers(Some(options))
            .await
            .map_err(away)?;
        Ok(list.into_iter().filter_map(observed).collect())
    }

    /// The id of an image, pulled first unless it is local; a failed pull changes nothing.
    pub(crate) async fn image(&self, reference: &str, fresh: bool) -> Result<String, EngineError> {
        let present = self.image_id(reference).await?;
        if is_local_image(reference) {
            return present.ok_or_else(|| EngineError::NoImage(reference.to_owned()));
        }
        match present {
            Some(id) if !fresh => Ok(id),
            Some(_) | None => {
                self.pull(reference).await?;
                let id = self.image_id(reference).await?;
                id.ok_or_else(|| EngineError::NoImage(reference.to_owned()))
            }
        }
    }

    async fn image_id(&self, reference: &str) -> Result<Option<String>, EngineError> {
        match self.docker.inspect_image(reference).await {
            Ok(image) => Ok(image.id),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(away(error)),
        }
    }

    async fn pull(&self, reference: &str) -> Result<(), EngineError> {
        let (repository, tag) = image_parts(reference);
        let options = CreateImageOptionsBuilder::new()
            .from_image(repository)
            .tag(tag)
            .build();
        let mut progress = self.docker.create_image(Some(options), None, None);
        while let Some(step) = progress.next().await {
            if let Err(error) = step {
                let why = error.to_string();
                return Err(EngineError::Pull {
                    image: reference.to_owned(),
                    why,
                });
            }
        }
        Ok(())
    }

    /// Makes the app's network, and says the address of its gateway.
    pub(crate) async fn network(&self, app: &AppName) -> Result<Option<String>, EngineError> {
        let name = network(app);
        let failed = |error: bollard::errors::Error| EngineError::Network(error.to_string());
        if self
            .docker
            .inspect_network(&name, None::<InspectNetworkOptions>)
            .await
            .is_err()
        {
            let request = NetworkCreateRequest {
                name: name.clone(),
                driver: Some("bridge".to_owned()),
                options: Some(HashMap::from([(
                    "com.docker.network.bridge.name".to_owned(),
                    bridge(app),
                )])),
                labels: Some(HashMap::from([(APP_LABEL.to_owned(), app.to_string())])),
                ..NetworkCreateRequest::default()
            };
            self.docker.create_network(request).await.map_err(failed)?;
        }
        let network = self
            .docker
            .inspect_network(&name, None::<InspectNetworkOptions>)
            .await
            .map_err(failed)?;
        let gateways = network
            .ipam
            .and_then(|ipam| ipam.config)
            .unwrap_or_default();
        Ok(gateways.into_iter().find_map(|config| config.gateway))
    }

    pub(crate) async fn remove_network(&self, app: &AppName) {
        // It goes with its last container; a missing one is as good.
        let _ = self.docker.remove_network(&network(app)).await;
    }

    /// Makes and starts a container; its output goes to the app's ring from the first byte.
    pub(crate) async fn run(
        &self,
        making: &Making<'_>,
        dns: Option<String>,
        logs: &Logs,
    ) -> Result<String, EngineError> {
        let failed = |what| {
            move |error: bollard::errors::Error| EngineError::Container {
                what,
                why: words(&error),
            }
        };
        let options = CreateContainerOptionsBuilder::new()
            .name(&making.name)
            .build();
        let body = body(making, dns);
        let made = self
            .docker
            .create_container(Some(options), body)
            .await
            .map_err(failed("made"))?;
        self.attach(&made.id, &making.spec.name, logs).await?;
        if let Err(error) = self.docker.start_container(&made.id, None).await {
            // A failed start keeps its name and port until the container is gone.
            self.remove(&made.id).await?;
            return Err(failed("started")(error));
        }
        Ok(made.id)
    }

    /// Follows a container's output until it ends.
    pub(crate) async fn attach(
        &self,
        id: &str,
        app: &AppName,
        logs: &Logs,
    ) -> Result<(), EngineError> {
        let options = AttachContainerOptionsBuilder::new()
            .stream(true)
            .stdout(true)
            .stderr(true)
            .build();
        let AttachContainerResults { mut output, .. } = self
            .docker
            .attach_container(id, Some(options))
            .await
            .map_err(away)?;
        let (app, logs) = (app.clone(), logs.clone());
        tokio::spawn(async move {
            while let Some(Ok(chunk)) = output.next().await {
                logs.add(&app, &chunk.into_bytes());
            }
        });
        Ok(())
    }

    /// Starts a stopped container; one that runs is a success.
    pub(crate) async fn start(&self, id: &str) -> Result<(), EngineError> {
        match self.docker.start_container(id, None).await {
            Ok(()) => Ok(()),
            Err(error) if status(&error) == Some(304) => Ok(()),
            Err(error) => Err(EngineError::Container {
                what: "started",
                why: words(&error),
            }),
        }
    }

    /// Stops a container; one that is stopped or gone is a success.
    pub(crate) async fn stop(&self, id: &str) -> Result<(), EngineError> {
        let options = StopContainerOptionsBuilder::new().t(GRACE).build();
        match self.docker.stop_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) || status(&error) == Some(304) => Ok(()),
            Err(error) => Err(EngineError::Container {
                what: "stopped",
                why: words(&error),
            }),
        }
    }

    /// Removes a container, running or not; one that is gone is a success.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        match self.docker.remove_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(EngineError::Container {
                what: "removed",
                why: words(&error),
            }),
        }
    }

    /// Whether a container runs, and how it ended if not.
    pub(crate) async fn is_running(&self, id: &str) -> Result<Result<(), String>, EngineError> {
        let inspected = match self
            .docker
            .inspect_container(id, None::<InspectContainerOptions>)
            .await
        {
            Ok(inspected) => inspected,
            Err(error) if is_missing(&error) => return Ok(Err(" (it was removed)".to_owned())),
            Err(error) => return Err(away(error)),
        };
        let state = inspected.state.unwrap_or_default();
        if state.running == Some(true) {
            return Ok(Ok(()));
        }
        let memory = if state.oom_killed == Some(true) {
            ", out of memory"
        } else {
            ""
        };
        Ok(Err(format!(
            " (exit code {}{memory})",
            state.exit_code.unwrap_or_default()
        )))
    }
}

fn body(making: &Making<'_>, dns: Option<String>) -> ContainerCreateBody {
    let spec = making.spec;
    let labels = HashMap::from([
        (APP_LABEL.to_owned(), spec.name.to_string()),
        (PRINT_LABEL.to_owned(), making.print.clone()),
    ]);
    ContainerCreateBody {
        image: Some(making.image.clone()),
        hostname: Some(spec.name.to_string()),
        env: Some(
            spec.environment
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
        ),
        labels: Some(labels),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        exposed_ports: Some(
            making
                .ports
                .iter()
                .map(|(guest, _)| format!("{guest}/tcp"))
                .collect(),
        ),
        host_config: Some(host_config(making, dns)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(making: &Making<'_>, dns: Option<String>) -> HostConfig {
    let spec = making.spec;
    let bindings = making.ports.iter().map(|(guest, host)| {
        let binding = PortBinding {
            host_ip: Some("127.0.0.1".to_owned()),
            host_port: Some(host.to_string()),
        };
        (format!("{guest}/tcp"), Some(vec![binding]))
    });
    let limit = |name: &str, value: u32| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(i64::from(value)),
        hard: Some(i64::from(value)),
    };
    let mut security = Vec::new();
    if !spec.privileged {
        security.push("no-new-privileges".to_owned());
    }
    HostConfig {
        binds: Some(
            making
                .binds
                .iter()
                .map(|(host, guest)| format!("{host}:{guest}"))
                .collect(),
        ),
        port_bindings: Some(bindings.collect()),
        network_mode: Some(network(&spec.name)),
        dns: dns.map(|gateway| vec![gateway]),
        privileged: Some(spec.privileged),
        cap_drop: (!spec.privileged).then(|| vec!["ALL".to_owned()]),
        cap_add: (!spec.privileged).then(|| CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: Some(security),
        readonly_rootfs: Some(spec.root == Root::ReadOnly),
        tmpfs: Some(tmpfs(spec)),
        pids_limit: Some(i64::from(spec.limits.processes)),
        ulimits: Some(vec![
            limit("nofile", spec.limits.open_files),
            limit("nproc", spec.limits.processes),
        ]),
        memory: spec
            .limits
            .memory
            .and_then(|bytes| i64::try_from(bytes).ok()),
        // The same bound with swap: memory means memory.
        memory_swap: spec
            .limits
            .memory
            .and_then(|bytes| i64::try_from(bytes).ok()),
        nano_cpus: spec.limits.nano_cpus,
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        // The engine keeps logs outside our volumes: it keeps none.
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".to_owned()),
            config: None,
        }),
        ..HostConfig::default()
    }
}

fn tmpfs(spec: &Spec) -> HashMap<String, String> {
    let standard = ["/tmp", "/run", "/var/tmp"]
        .into_iter()
        .map(|path| (path.to_owned(), "rw,nosuid,nodev,size=64m".to_owned()));
    let own = spec.temporary.iter().map(|volume| {
        let size = volume
            .size
            .map_or_else(String::new, |bytes| format!(",size={bytes}"));
        (volume.container.clone(), format!("rw,nosuid,nodev{size}"))
    });
    standard.chain(own).collect()
}

fn observed(summary: ContainerSummary) -> Option<Observed> {
    let labels = summary.labels?;
    Some(Observed {
        id: summary.id?,
        app: AppName::new(labels.get(APP_LABEL)?.as_str()).ok()?,
        print: labels.get(PRINT_LABEL).cloned().unwrap_or_default(),
        running: summary.state == Some(ContainerSummaryStateEnum::RUNNING),
    })
}

fn status(error: &bollard::errors::Error) -> Option<u16> {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

fn is_missing(error: &bollard::errors::Error) -> bool {
    status(error) == Some(404)
}

fn words(error: &bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

fn away(error: bollard::errors::Error) -> EngineError {
    EngineError::Away(words(&error))
}

/// Between two looks at a container that starts.
pub(crate) const PROBE_PERIOD: Duration = Duration::from_millis(150);
