use super::*;
use std::ffi::OsString;

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables
        .iter()
        .map(|(key, value)| (OsString::from(key), OsString::from(value)))
        .collect()
}

fn load(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("piccolo.toml");
    std::fs::write(&path, file).expect("the file is written");
    Config::load(Layers {
        file: Some(path),
        environment: environment(variables),
    })
}

fn refusal(file: &str, variables: &[(&str, &str)]) -> String {
    let error = load(file, variables).expect_err("it is refused");
    let text = error.to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    text
}

const SHARED: (&str, &str) = ("PICCOLO_PRIVILEGES", "shared");

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file = "privileges = \"shared\"\n[portal]\nhttp = \"[::]:8080\"\nhttps = \"[::]:8443\"\n";
    let config = load(file, &[("PICCOLO_PORTAL_HTTP", "127.0.0.1:0")]).expect("valid");
    assert_eq!(config.portal.http.to_string(), "127.0.0.1:0");
    assert_eq!(config.portal.https.to_string(), "[::]:8443");
    assert_eq!(config.health_listen.to_string(), "127.0.0.1:8600");
}

#[test]
fn children_are_told_every_setting_in_its_final_form_and_no_unset_one() {
    let file = "[portal]\nhosts = [\"Box.example\", \"nas\"]\n";
    let config = load(file, &[SHARED, ("PICCOLO_ENGINE_SOCKET", "/e.sock")]).expect("valid");
    let told: BTreeMap<_, _> = config.environment().into_iter().collect();
    assert_eq!(told["PICCOLO_PORTAL_HOSTS"], "box.example,nas");
    assert_eq!(told["PICCOLO_PORTS_PUBLIC"], "35000-45000");
    assert_eq!(told["PICCOLO_ENGINE_SOCKET"], "/e.sock");
    assert_eq!(told["PICCOLO_PRIVILEGES"], "shared");
    assert!(told["PICCOLO_ACME_DIRECTORY"].contains("letsencrypt"));
    assert!(!told.contains_key("PICCOLO_ACME_CA_FILE"));
}

#[test]
fn separate_users_are_refused_and_never_silently_shared() {
    let text = refusal("", &[]);
    assert!(text.contains("not available in this version"), "{text}");
    assert!(text.contains("shared"), "{text}");
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one() {
    let text = refusal("state_dir = \"/s\"\n\n[portal]\nhtps = \"x\"\n", &[SHARED]);
    assert!(text.contains("line 4"), "{text}");
    assert!(text.contains("htps"), "{text}");
    assert!(text.contains("did you mean http"), "{text}");
}

#[test]
fn a_broken_rule_names_file_line_key_and_what_to_write() {
    let text = refusal("[portal]\nhttp = \"80\"\n", &[SHARED]);
    for part in ["piccolo.toml line 2", "portal.http", "\"80\"", "[::]:80"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let text = refusal("[ports]\n\npublic = 5\n", &[SHARED]);
    assert!(
        text.contains("line 3") && text.contains("public = 5"),
        "{text}"
    );
}

#[test]
fn an_unknown_variable_is_refused_with_the_nearest_known_one() {
    let text = refusal("", &[SHARED, ("PICCOLO_PORTAL_HTPS", "[::]:1")]);
    assert!(text.contains("PICCOLO_PORTAL_HTPS"), "{text}");
    assert!(text.contains("did you mean PICCOLO_PORTAL_HTTPS"), "{text}");
    let text = refusal("", &[SHARED, ("PICCOLO_XYZZY_PLUGH_12345", "1")]);
    assert!(!text.contains("did you mean"), "{text}");
}

#[test]
fn every_rule_can_be_broken() {
    let cases = [
        ("PICCOLO_STATE_DIR", "state"),
        ("PICCOLO_RUNTIME_DIR", "/var/lib/piccolo"),
        ("PICCOLO_PRIVILEGES", "root"),
        ("PICCOLO_PORTAL_HTTPS", "[::]:80"),
        ("PICCOLO_PORTAL_HOSTS", "a:80"),
        ("PICCOLO_HEALTH_LISTEN", "0.0.0.0:8600"),
        ("PICCOLO_PORTS_HOST_BIND", "25000-15000"),
        ("PICCOLO_PORTS_PUBLIC", "20000-30000"),
        ("PICCOLO_ENGINE_SOCKET", "docker.sock"),
        ("PICCOLO_ACME_DIRECTORY", "http://ca/directory"),
        ("PICCOLO_ACME_CA_FILE", "ca.pem"),
        ("PICCOLO_REMOTE_CA_FILE", "ca.pem"),
        ("PICCOLO_UPDATES_DRIVER", "apt"),
        ("PICCOLO_CLUSTER_PROVIDER", "raft"),
        ("PICCOLO_LOG", "store=loudest"),
    ];
    for (variable, value) in cases {
        let text = refusal("", &[SHARED, (variable, value)]);
        assert!(text.contains(variable), "{variable} in {text}");
    }
}

#[test]
fn a_missing_file_is_refused_when_it_was_asked_for() {
    let layers = Layers {
        file: Some("/nonexistent/piccolo.toml".into()),
        environment: environment(&[SHARED]),
    };
    let error = Config::load(layers).expect_err("refused");
    assert!(error.to_string().contains("/nonexistent/piccolo.toml"));
}
