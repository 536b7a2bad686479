//! The firewall against real packets: an app's network namespace, a neighbour on the LAN, and the
//! internet, around a host that is a network namespace too.

use crate::world::World;
use nix::sched::{CloneFlags, setns, unshare};
use piccolo_bus_schema::{
    Fault,
    host::{EgressRule, SetEgress},
};
use std::{
    fs::File,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    process::Command,
    time::Duration,
};

const APP: &str = "10.66.0.2";
const NEIGHBOUR: &str = "192.168.77.2:80";
const INTERNET: &str = "203.0.113.2:80";
const NEIGHBOUR_V6: &str = "[fd00:77::2]:80";
const INTERNET_V6: &str = "[2001:db8:113::2]:80";
const HOST: &str = "10.66.0.1:80";
const PLACES: [&str; 5] = [NEIGHBOUR, NEIGHBOUR_V6, INTERNET, INTERNET_V6, HOST];
const SETTLED: Duration = Duration::from_secs(20);
/// Dropped packets are never answered; everything here is on one machine.
const NO_ANSWER: Duration = Duration::from_millis(400);

/// A network namespace that lives as long as this descriptor.
struct Net(File);

impl Net {
    fn new() -> Self {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("tests run as root");
            File::open("/proc/thread-self/ns/net").expect("our own namespace")
        });
        Self(made.join().expect("made"))
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let acted = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("it exists");
                act()
            });
            acted.join().expect("no panic")
        })
    }

    fn ip(&self, line: &str) {
        self.inside(|| ip(line));
    }

    fn listen(&self, address: &str) {
        self.inside(|| listen(address));
    }

    fn reaches(&self, address: &str) -> bool {
        self.inside(|| connect(address).is_ok())
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let address: SocketAddr = address.parse().expect("an address");
    TcpStream::connect_timeout(&address, NO_ANSWER)
}

/// Takes connections and ends them, for as long as the test runs.
fn listen(address: &str) {
    let listener = TcpListener::bind(address).expect("a free port");
    std::thread::spawn(move || listener.incoming().for_each(drop));
}

fn ip(line: &str) {
    let done = Command::new("ip")
        .args(line.split(' '))
        .output()
        .expect("ip runs");
    assert!(
        done.status.success(),
        "ip {line}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

struct Street {
    world: World,
    app: Net,
    outside: Net,
}

impl Street {
    async fn build() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("tests run as root");
        let (app, outside) = (Net::new(), Net::new());
        ip("link set lo up");
        ip(&format!(
            "link add picweb type veth peer name eth0 netns {}",
            app.path()
        ));
        ip(&format!(
            "link add lan type veth peer name eth0 netns {}",
            outside.path()
        ));
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{setting}"), "1").expect("a setting");
        }
        for line in [
            "addr add 10.66.0.1/24 dev picweb",
            "addr add fd66::1/64 dev picweb nodad",
            "addr add 192.168.77.1/24 dev lan",
            "addr add 203.0.113.1/24 dev lan",
            "addr add fd00:77::1/64 dev lan nodad",
            "addr add 2001:db8:113::1/64 dev lan nodad",
            "link set picweb up",
            "link set lan up",
        ] {
            ip(line);
        }
        for line in [
            "addr add 10.66.0.2/24 dev eth0",
            "addr add fd66::2/64 dev eth0 nodad",
            "link set eth0 up",
            "route add default via 10.66.0.1",
            "route add default via fd66::1",
        ] {
            app.ip(line);
        }
        for line in [
            "addr add 192.168.77.2/24 dev eth0",
            "addr add 203.0.113.2/24 dev eth0",
            "addr add fd00:77::2/64 dev eth0 nodad",
            "addr add 2001:db8:113::2/64 dev eth0 nodad",
            "link set eth0 up",
            "route add 10.66.0.0/24 via 192.168.77.1",
            "route add fd66::/64 via fd00:77::1",
        ] {
            outside.ip(line);
        }
        outside.listen("[::]:80");
        listen("[::]:80");
        app.listen("0.0.0.0:8080");
        // Duplicate address detection and neighbour discovery take a moment.
        let open = async {
            while !PLACES.iter().all(|place| app.reaches(place)) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(SETTLED, open)
            .await
            .expect("without a firewall all is reached");
        Self {
            world: World::start_in_this_namespace().await,
            app,
            outside,
        }
    }

    async fn allow(&self, internet: bool, local_network: bool) -> Result<(), Fault> {
        let rule = EgressRule {
            bridge: "picweb".to_owned(),
            internet,
            local_network,
        };
        self.world.call(SetEgress { rules: vec![rule] }).await
    }

    /// What the app reaches: neighbour, internet, the host itself.
    fn reach(&self) -> [bool; 5] {
        PLACES.map(|place| self.app.reaches(place))
    }
}

#[tokio::test]
async fn an_app_reaches_nothing_until_it_may_and_then_only_that() {
    let street = Street::build().await;
    assert_eq!(street.reach(), [false; 5], "deny is where a host starts");
    connect(&format!("{APP}:8080")).expect("the edge reaches the app all the same");

    street.allow(true, false).await.expect("loads");
    assert_eq!(street.reach(), [false, false, true, true, false]);
    street.allow(false, true).await.expect("loads");
    assert_eq!(street.reach(), [true, true, false, false, false]);
    street.allow(true, true).await.expect("loads");
    assert_eq!(street.reach(), [true, true, true, true, false]);

    street
        .world
        .call(SetEgress { rules: Vec::new() })
        .await
        .expect("loads");
    assert_eq!(
        street.reach(),
        [false; 5],
        "a bridge that is not listed reaches nothing"
    );
    assert!(
        !street.outside.reaches(&format!("{APP}:22")),
        "nothing listens there"
    );
}

#[tokio::test]
async fn a_flushed_table_is_put_back_with_what_was_allowed() {
    let street = Street::build().await;
    street.allow(true, false).await.expect("loads");
    let flushed = Command::new("nft")
        .args(["flush", "ruleset"])
        .status()
        .expect("nft runs");
    assert!(flushed.success());
    assert!(street.app.reaches(NEIGHBOUR), "the door is open now");

    let closed = async {
        while street.app.reaches(NEIGHBOUR) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, closed)
        .await
        .expect("closed again");
    assert_eq!(street.reach(), [false, false, true, true, false]);
}

#[tokio::test]
async fn a_host_that_starts_again_keeps_what_apps_were_allowed() {
    let street = Street::build().await;
    street.allow(true, false).await.expect("loads");
    let _next_life = World::start_in_this_namespace().await;
    assert_eq!(street.reach(), [false, false, true, true, false]);
}

#[tokio::test]
async fn a_bridge_that_is_not_an_apps_is_refused_and_changes_nothing() {
    let street = Street::build().await;
    street.allow(true, false).await.expect("loads");
    let rule = EgressRule {
        bridge: "lan".to_owned(),
        internet: true,
        local_network: true,
    };
    let fault = street
        .world
        .call(SetEgress { rules: vec![rule] })
        .await
        .expect_err("refused");
    assert!(matches!(fault, Fault::Invalid { field, .. } if field == "rules[0].bridge"));
    assert_eq!(street.reach(), [false, false, true, true, false]);
}

#[tokio::test]
async fn the_apps_ports_are_kept_from_outgoing_connections() {
    let _street = Street::build().await;
    let reserved = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports");
    assert_eq!(
        reserved.expect("a setting").trim(),
        "15000-25000,35000-45000"
    );
}
