//! From the owner's text to a [`Spec`], or to everything that is wrong with it. Pure.

use super::{
    LIMIT, Limits, Listener, Network, PersistentVolume, RolePolicy, Root, Spec, TemporaryVolume,
    fields::{Fields, Problems},
    image,
};
use piccolo_bus_schema::{
    app::{Flow, Middleware, Problem, Protocol},
    ids::{AppName, ListenerName, VolumeId},
};
use serde_yaml_ng::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Names a container's root already has a meaning for.
const RESERVED_PATHS: [&str; 4] = ["/", "/proc", "/sys", "/dev"];
const VALUE_LIMIT: usize = 4096;

/// Reads a spec; all problems, in the order of the text, when it is not valid.
pub(crate) fn read(text: &str) -> Result<Spec, Vec<Problem>> {
    let problems = Problems::default();
    let spec = document(text, &problems).and_then(|value| spec(&value, &problems));
    let list = problems.into_list();
    match spec {
        Some(spec) if list.is_empty() => Ok(spec),
        _ => Err(list),
    }
}

fn document(text: &str, problems: &Problems) -> Option<Value> {
    if text.len() > LIMIT {
        problems.add("", "a spec has at most 256 KiB");
        return None;
    }
    match serde_yaml_ng::from_str(text) {
        Ok(value @ Value::Mapping(_)) => Some(value),
        Ok(_) => {
            problems.add("", "a spec is one YAML mapping");
            None
        }
        Err(error) => {
            problems.add("", format!("is not YAML: {error}"));
            None
        }
    }
}

fn spec(value: &Value, problems: &Problems) -> Option<Spec> {
    let known = [
        "name",
        "image",
        "build",
        "type",
        "listeners",
        "storage",
        "filesystem",
        "permissions",
        "environment",
        "secrets",
        "resources",
        "healthcheck",
        "depends_on",
        "app_config",
    ];
    let fields = Fields::of(Some(value), "", &known, problems);
    for field in [
        "build",
        "secrets",
        "healthcheck",
        "depends_on",
        "app_config",
    ] {
        fields.unsupported(field);
    }
    if let Some(kind) = fields.text("type")
        && kind != "user"
    {
        let why = if kind == "system" {
            "system apps come only from the device's own image"
        } else {
            "must be user or system"
        };
        fields.problem("type", why);
    }
    let name = fields.required_text("name").and_then(|_| {
        fields.parsed("name", |text| {
            AppName::new(text).map_err(|error| error.to_string())
        })
    });
    let image = fields.required_text("image").and_then(|_| {
        fields.parsed("image", |text| {
            image::problem(text).map_or(Ok(text.to_owned()), |why| Err(why.to_owned()))
        })
    });
    let listeners = listeners(&fields, problems);
    let permissions = Fields::of(
        fields.get("permissions"),
        "permissions",
        &["network", "resources", "filesystem"],
        problems,
    );
    let resources = Fields::of(
        permissions.get("resources"),
        "permissions.resources",
        &["max_processes", "max_open_files", "privileged"],
        problems,
    );
    let storage = Fields::of(
        fields.get("storage"),
        "storage",
        &["persistent", "temporary"],
        problems,
    );
    let mut paths = BTreeSet::new();
    let persistent = persistent(&storage, name.as_ref(), problems, &mut paths);
    let temporary = temporary(&storage, problems, &mut paths);
    Some(Spec {
        listeners,
        persistent,
        temporary,
        root: root(&fields, &permissions, problems),
        network: network(&permissions, problems),
        limits: limits(&fields, &resources, problems),
        privileged: resources.flag("privileged").unwrap_or(false),
        environment: environment(&fields),
        role_policy: role_policy(value, problems),
        name: name?,
        image: image?,
    })
}

fn listeners(fields: &Fields<'_>, problems: &Problems) -> Vec<Listener> {
    let list = fields.list("listeners");
    if list.is_empty() {
        fields.problem("listeners", "an app has at least one listener");
    }
    let known = [
        "name",
        "guest_port",
        "flow",
        "protocol",
        "remote_ports",
        "protocol_middleware",
    ];
    let mut names = BTreeSet::new();
    let mut ports = BTreeSet::new();
    let mut listeners = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let fields = Fields::of(Some(value), format!("listeners[{index}]"), &known, problems);
        let name = fields.required_text("name").and_then(|_| {
            fields.parsed("name", |text| {
                ListenerName::new(text).map_err(|error| error.to_string())
            })
        });
        if fields.get("guest_port").is_none() {
            fields.problem("guest_port", "is required");
        }
        let port = fields.port("guest_port");
        if name
            .as_ref()
            .is_some_and(|name| !names.insert(name.clone()))
        {
            fields.problem("name", "is used twice");
        }
        if port.is_some_and(|port| !ports.insert(port)) {
            fields.problem("guest_port", "is used twice");
        }
        let flow = flow(&fields);
        let protocol = protocol(&fields);
        let remote_ports = remote_ports(&fields);
        let middleware = middleware(&fields, problems);
        if let (Some(name), Some(guest_port)) = (name, port) {
            listeners.push(Listener {
                name,
                guest_port,
                flow,
                protocol,
                remote_ports,
                middleware,
            });
        }
    }
    listeners
}

fn flow(fields: &Fields<'_>) -> Flow {
    match fields.text("flow") {
        None | Some("tcp") => Flow::Tcp,
        Some("tls") => Flow::Tls,
        Some(_) => {
            fields.problem("flow", "must be tcp or tls");
            Flow::Tcp
        }
    }
}

fn protocol(fields: &Fields<'_>) -> Protocol {
    match fields.text("protocol") {
        None | Some("raw") => Protocol::Raw,
        Some("http") => Protocol::Http,
        Some("websocket") => Protocol::Websocket,
        Some("udp") => {
            fields.problem("protocol", "udp is not supported yet");
            Protocol::Raw
        }
        Some(_) => {
            fields.problem("protocol", "must be raw, http, websocket or udp");
            Protocol::Raw
        }
    }
}

/// The relay's two ports carry every name; a port of one's own needs a claim at the relay.
fn remote_ports(fields: &Fields<'_>) -> Vec<u16> {
    let mut ports = Vec::new();
    for value in fields.list("remote_ports") {
        match value.as_u64().and_then(|port| u16::try_from(port).ok()) {
            Some(port @ (80 | 443)) => ports.push(port),
            Some(1..) => fields.problem(
                "remote_ports",
                "ports other than 80 and 443 are not supported yet",
            ),
            Some(0) | None => fields.problem("remote_ports", "must be ports from 1 to 65535"),
        }
    }
    if ports.is_empty() {
        vec![80, 443]
    } else {
        ports
    }
}

fn middleware(fields: &Fields<'_>, problems: &Problems) -> Vec<Middleware> {
    let mut list = Vec::new();
    for (index, value) in fields.list("protocol_middleware").iter().enumerate() {
        let path = fields.at(&format!("protocol_middleware[{index}]"));
        let one = Fields::of(Some(value), path.clone(), &["name", "params"], problems);
        let params_path = format!("{path}.params");
        let params =
            |known: &[&str]| Fields::of(one.get("params"), params_path.clone(), known, problems);
        match one.required_text("name") {
            Some("rate_limit") => {
                let params = params(&["requests_per_second", "burst"]);
                let read = |key| {
                    if params.get(key).is_none() {
                        params.problem(key, "is required");
                    }
                    params
                        .number(key, 1, 1_000_000)
                        .and_then(|n| u32::try_from(n).ok())
                };
                if let (Some(requests_per_second), Some(burst)) =
                    (read("requests_per_second"), read("burst"))
                {
                    list.push(Middleware::RateLimit {
                        requests_per_second,
                        burst,
                    });
                }
            }
            Some("headers") => {
                let params = params(&["set", "remove"]);
                let set = params
                    .entries("set")
                    .into_iter()
                    .filter_map(|(name, value)| match value.as_str() {
                        Some(value) if is_header(name) && !value.contains(['\r', '\n', '\0']) => {
                            Some((name.to_owned(), value.to_owned()))
                        }
                        _ => {
                            params.problem("set", format!("{name:?} is not a header with a text"));
                            None
                        }
                    });
                let set = set.collect();
                let remove =
                    params
                        .list("remove")
                        .iter()
                        .filter_map(|value| match value.as_str() {
                            Some(name) if is_header(name) => Some(name.to_owned()),
                            _ => {
                                params.problem("remove", "must be names of headers");
                                None
                            }
                        });
                list.push(Middleware::Headers {
                    set,
                    remove: remove.collect(),
                });
            }
            Some("allow") => {
                let params = params(&["cidrs"]);
                let cidrs: Vec<String> = params
                    .list("cidrs")
                    .iter()
                    .filter_map(|value| match value.as_str() {
                        Some(cidr) if is_cidr(cidr) => Some(cidr.to_owned()),
                        _ => {
                            params.problem("cidrs", "must be networks such as 192.168.0.0/16");
                            None
                        }
                    })
                    .collect();
                if cidrs.is_empty() {
                    params.problem("cidrs", "is required");
                }
                list.push(Middleware::Allow { cidrs });
            }
            Some("require_login") => one.problem("name", "require_login is not supported yet"),
            Some(_) => {
                one.problem(
                    "name",
                    "must be require_login, rate_limit, headers or allow",
                );
            }
            None => {}
        }
    }
    list
}

/// A token of RFC 9110 section 5.6.2.
fn is_header(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn is_cidr(text: &str) -> bool {
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let Ok(address) = address.parse::<std::net::IpAddr>() else {
        return false;
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    !text.contains('/') || length.parse::<u8>().is_ok_and(|length| length <= most)
}

fn persistent(
    storage: &Fields<'_>,
    app: Option<&AppName>,
    problems: &Problems,
    paths: &mut BTreeSet<String>,
) -> Vec<PersistentVolume> {
    let mut volumes = Vec::new();
    for (name, value) in storage.entries("persistent") {
        let path = storage.at(&format!("persistent.{name}"));
        let fields = Fields::of(
            Some(value),
            path,
            &["container", "size_limit", "host"],
            problems,
        );
        if fields.get("host").is_some() {
            fields.problem(
                "host",
                "apps don't see the device's own directories; leave it out",
            );
        }
        fields.unsupported("size_limit");
        let container = container_path(&fields, paths);
        let volume = app.and_then(|app| VolumeId::new(format!("app-{app}-{name}")).ok());
        if app.is_some() && volume.is_none() {
            fields.problem("", "its name must be lower-case letters, digits and '-'");
        }
        if let (Some(volume), Some(container)) = (volume, container) {
            volumes.push(PersistentVolume { volume, container });
        }
    }
    volumes
}

fn temporary(
    storage: &Fields<'_>,
    problems: &Problems,
    paths: &mut BTreeSet<String>,
) -> Vec<TemporaryVolume> {
    let mut volumes = Vec::new();
    for (name, value) in storage.entries("temporary") {
        let path = storage.at(&format!("temporary.{name}"));
        let fields = Fields::of(Some(value), path, &["container", "size_limit"], problems);
        let size = fields.size("size_limit");
        if let Some(container) = container_path(&fields, paths) {
            volumes.push(TemporaryVolume { container, size });
        }
    }
    volumes
}

/// An absolute path without detours, that nothing else is mounted at.
fn container_path(fields: &Fields<'_>, paths: &mut BTreeSet<String>) -> Option<String> {
    let text = fields.required_text("container")?;
    let path = if text.len() > 1 {
        text.trim_end_matches('/')
    } else {
        text
    };
    let sound = path.starts_with('/')
        && path.len() <= 1024
        && !path.contains([':', '\0', '\n', ','])
        && path
            .split('/')
            .skip(1)
            .all(|part| !part.is_empty() && part != "." && part != "..");
    let reserved = RESERVED_PATHS
        .iter()
        .any(|taken| path == *taken || (*taken != "/" && path.starts_with(&format!("{taken}/"))));
    if !sound || reserved {
        fields.problem(
            "container",
            "must be an absolute path without `..`, not /proc, /sys or /dev",
        );
        return None;
    }
    if !paths.insert(path.to_owned()) {
        fields.problem("container", "is used twice");
    }
    Some(path.to_owned())
}

fn root(fields: &Fields<'_>, permissions: &Fields<'_>, problems: &Problems) -> Root {
    let filesystem = Fields::of(
        fields.get("filesystem"),
        "filesystem",
        &["persistent"],
        problems,
    );
    if filesystem.flag("persistent") == Some(true) {
        filesystem.problem(
            "persistent",
            "is not supported yet; put data on storage.persistent",
        );
    }
    let access = Fields::of(
        permissions.get("filesystem"),
        "permissions.filesystem",
        &["read_only_root", "device_access"],
        problems,
    );
    if access.permission("device_access") == Some(true) {
        access.problem("device_access", "is not supported yet");
    }
    if access.flag("read_only_root").unwrap_or(true) {
        Root::ReadOnly
    } else {
        Root::Writable
    }
}

fn network(permissions: &Fields<'_>, problems: &Problems) -> Network {
    let known = [
        "internet",
        "local_network",
        "dns",
        "allowed_domains",
        "allowed_ips",
    ];
    let fields = Fields::of(
        permissions.get("network"),
        "permissions.network",
        &known,
        problems,
    );
    fields.unsupported("allowed_domains");
    fields.unsupported("allowed_ips");
    Network {
        internet: fields.permission("internet").unwrap_or(false),
        local_network: fields.permission("local_network").unwrap_or(true),
        dns: fields.permission("dns").unwrap_or(true),
    }
}

fn limits(fields: &Fields<'_>, permissions: &Fields<'_>, problems: &Problems) -> Limits {
    let resources = Fields::of(fields.get("resources"), "resources", &["limits"], problems);
    let limits = Fields::of(
        resources.get("limits"),
        "resources.limits",
        &["memory", "storage", "cpu"],
        problems,
    );
    limits.unsupported("storage");
    let count = |key, default| {
        let number = permissions.number(key, 1, 1_000_000);
        number
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(default)
    };
    let memory = limits.size("memory");
    // Docker refuses less: the process could not even start.
    if memory.is_some_and(|memory| memory < 6 << 20) {
        limits.problem("memory", "must be at least 6MiB");
    }
    Limits {
        processes: count("max_processes", 512),
        open_files: count("max_open_files", 4096),
        memory,
        nano_cpus: cpus(&limits),
    }
}

fn cpus(limits: &Fields<'_>) -> Option<i64> {
    let value = limits.get("cpu")?;
    let cores = value.as_f64().filter(|cores| (0.01..=64.0).contains(cores));
    let Some(cores) = cores else {
        limits.problem("cpu", "must be a number of cores from 0.01 to 64");
        return None;
    };
    // Exact for every decimal an owner writes; 64 cores are far below 2^53.
    #[allow(clippy::cast_possible_truncation, reason = "at most 64e9")]
    Some((cores * 1e9).round() as i64)
}

fn environment(fields: &Fields<'_>) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for (key, value) in fields.entries("environment") {
        let sound = key
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !sound {
            fields.problem(
                &format!("environment.{key}"),
                "a key is letters, digits and `_`",
            );
        }
        let text = match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        };
        match text {
            Some(text) if text.len() <= VALUE_LIMIT && !text.contains('\0') => {
                environment.insert(key.to_owned(), text);
            }
            _ => fields.problem(
                &format!("environment.{key}"),
                "a value is text of at most 4096 bytes",
            ),
        }
    }
    environment
}

fn role_policy(value: &Value, problems: &Problems) -> RolePolicy {
    let known = ["role_policy", "standby"];
    let extension = value.get("x-piccolo");
    let fields = Fields::of(extension, "x-piccolo", &known, problems);
    match fields.text("standby") {
        None | Some("cold") => {}
        Some("warm") => fields.problem("standby", "warm is not supported yet"),
        Some(_) => fields.problem("standby", "must be cold or warm"),
    }
    match fields.text("role_policy") {
        None | Some("leader_only") => RolePolicy::LeaderOnly,
        Some("follower_proxy") => RolePolicy::FollowerProxy,
        Some("always_on") => RolePolicy::AlwaysOn,
        Some("follower_ok_ro") => {
            fields.problem("role_policy", "follower_ok_ro is not supported yet");
            RolePolicy::LeaderOnly
        }
        Some(_) => {
            let words = "must be leader_only, follower_ok_ro, follower_proxy or always_on";
            fields.problem("role_policy", words);
            RolePolicy::LeaderOnly
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "
name: demo
image: localhost/demo:1
listeners:
  - { name: demo, guest_port: 8080, protocol: http }
storage: { persistent: { data: { container: /data } }, temporary: { tmp: { container: /cache, size_limit: 16MB } } }
permissions: { network: { internet: allow }, resources: { max_processes: 64 } }
environment: { LEVEL: 3, NAME: x }
resources: { limits: { memory: 64MB, cpu: 0.25 } }
x-note: free
";

    fn problems(text: &str) -> Vec<String> {
        match read(text) {
            Ok(_) => Vec::new(),
            Err(list) => list
                .into_iter()
                .map(|p| format!("{}: {}", p.path, p.message))
                .collect(),
        }
    }

    #[test]
    fn a_good_spec_is_understood() {
        let spec = read(GOOD).expect("a spec");
        assert_eq!(spec.limits.nano_cpus, Some(250_000_000));
        assert_eq!(spec.limits.memory, Some(64_000_000));
        assert_eq!(spec.persistent[0].volume.as_str(), "app-demo-data");
        assert_eq!(
            spec.network,
            Network {
                internet: true,
                local_network: true,
                dns: true
            }
        );
        assert_eq!(spec.environment["LEVEL"], "3");
        assert_eq!(spec.root, Root::ReadOnly);
    }

    #[test]
    fn all_problems_are_told_at_once_with_their_paths() {
        let text =
            "name: Demo\nimage: localhost/x:1\nlisteners:\n  - name: demo\n    guest_prot: 80\n";
        let problems = problems(text);
        assert!(
            problems.iter().any(|p| p.starts_with("name:")),
            "{problems:?}"
        );
        assert!(
            problems
                .iter()
                .any(|p| p.contains("listeners[0].guest_prot") && p.contains("`guest_port`"))
        );
        assert!(
            problems
                .iter()
                .any(|p| p.starts_with("listeners[0].guest_port: is required"))
        );
    }

    #[test]
    fn what_has_no_effect_yet_is_refused() {
        for extra in [
            "secrets: { a: b }",
            "healthcheck: { http: { path: / } }",
            "depends_on: [x]",
            "build: { containerfile: x }",
            "type: system",
            "permissions: { network: { allowed_domains: [x] } }",
            "permissions: { filesystem: { device_access: allow } }",
            "filesystem: { persistent: true }",
            "x-piccolo: { role_policy: follower_ok_ro }",
        ] {
            let base = "name: demo\nimage: a\nlisteners: [{ name: demo, guest_port: 1 }]\n";
            assert_eq!(problems(base), Vec::<String>::new());
            assert_eq!(problems(&format!("{base}{extra}\n")).len(), 1, "{extra}");
        }
    }

    #[test]
    fn host_paths_and_detours_are_refused() {
        for container in ["data", "/data/../etc", "/", "/proc/x", "/a:b", "//x"] {
            let text = format!(
                "name: demo\nimage: a\nlisteners: [{{ name: demo, guest_port: 1 }}]\n\
                 storage: {{ persistent: {{ data: {{ container: \"{container}\" }} }} }}\n"
            );
            assert_eq!(
                problems(&text).len(),
                1,
                "{container}: {:?}",
                problems(&text)
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_upsets_the_reader(text in "\\PC{0,200}") {
            let _ = read(&text);
        }

        #[test]
        fn no_yaml_upsets_the_reader(
            key in "(name|image|listeners|storage|permissions|resources|x-piccolo|environment)",
            value in "([0-9]{1,3}|true|\\[\\]|\\{a: b\\}|\\[a, 1\\]|null|\\{persistent: 3\\})",
        ) {
            let _ = read(&format!("{key}: {value}\n"));
        }
    }
}
