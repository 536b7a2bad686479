//! Writes `docs/bus.md` to standard output: `cargo run -p piccolo-bus-schema --example bus-page`.

fn main() {
    print!("{}", piccolo_bus_schema::registry::page());
}
