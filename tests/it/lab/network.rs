//! Machines on one switch: a network namespace for each, one more with a bridge, a veth pair as the
//! cable between them. What the bridge forwards is cut and lost by nftables.
//!
//! The namespaces have no names. The kernel removes them, with everything in them, when nobody holds
//! them or runs in them any more: with the test, however it ends. Agents that a killed test leaves
//! behind are in networks where nobody else is.
//!
//! Invariants
//! - the network of the machine that the test runs on has nothing of this;
//! - no fault is lifted that has stopped nothing: it was none.
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::rig::Place;

/// How `unshare`, `ip` and `nft` tell that a kernel was built without something, or keeps it from root.
const LACKING: [&str; 6] = [
    "Invalid argument",
    "No such file or directory",
    "Operation not permitted",
    "Operation not supported",
    "Protocol not supported",
    "Unknown device type",
];

/// See the module.
pub(crate) struct Network {
    switch: Place,
    /// The end of each machine's cable at the switch has the machine's name.
    machines: Vec<(String, Place)>,
    /// From whom nothing comes to whom.
    cuts: BTreeSet<(String, String)>,
    loss_percent: u32,
}

impl Network {
    /// A machine for each name, all of them connected. Otherwise: why there can be no such network here.
    pub(crate) fn new(names: &[&str]) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root may make network namespaces".to_owned());
        }
        if let Some(missing) = ["ip", "nft"].into_iter().find(|name| !is_installed(name)) {
            let why = format!("there is no `{missing}` here: apt-get install iproute2 nftables");
            assert!(std::env::var_os("CI").is_none(), "{why}");
            return Err(why);
        }
        let switch = Place { address: String::new(), network: Some(Arc::new(namespace()?)) };
        try_tool(&switch, "bridges", "ip link add switch up type bridge")?;
        let mut machines = Vec::new();
        for (at, &name) in names.iter().enumerate() {
            let network = namespace()?;
            let holder = format!("/proc/{}/fd/{}", std::process::id(), network.as_raw_fd());
            // Of the block for tests of networks (RFC 2544).
            let address = format!("198.18.0.{}", at + 1);
            let machine = Place { address, network: Some(Arc::new(network)) };
            let cable = format!("ip link add {name} type veth peer name eth0 netns {holder}");
            try_tool(&switch, "veth pairs", &cable)?;
            tool(&switch, &format!("ip link set {name} master switch up"));
            tool(&machine, "ip link set lo up");
            tool(&machine, &format!("ip address add {}/24 dev eth0", machine.address));
            tool(&machine, "ip link set eth0 up");
            machines.push((name.to_owned(), machine));
        }
        let this = Self { switch, machines, cuts: BTreeSet::new(), loss_percent: 0 };
        this.try_rules("rules of nftables for bridges", &this.rules(0))?;
        this.try_rules("numgen of nftables", &this.rules(1))?;
        this.apply();
        Ok(this)
    }

    pub(crate) fn place(&self, name: &str) -> Place {
        let found = self.machines.iter().find(|(known, _)| known == name);
        found.expect("a machine of that name").1.clone()
    }

    /// From now on nothing of `from` comes to `to`; what `to` sends still arrives.
    pub(crate) fn cut(&mut self, from: &str, to: &str) {
        self.cuts.insert((from.to_owned(), to.to_owned()));
        self.apply();
    }

    /// From now on so much of everything is lost on its way.
    pub(crate) fn lose(&mut self, percent: u32) {
        self.loss_percent = percent;
        self.apply();
    }

    /// The machine's cable is pulled out of the switch.
    pub(crate) fn pull(&self, name: &str) {
        tool(&self.switch, &format!("ip link set {name} down"));
    }

    pub(crate) fn plug_in(&self, name: &str) {
        tool(&self.switch, &format!("ip link set {name} up"));
    }

    /// All cuts and losses end.
    pub(crate) fn heal(&mut self) {
        let rules = tool(&self.switch, "nft list table bridge lab");
        for rule in rules.lines().filter(|line| line.contains("drop")) {
            assert!(!rule.contains("packets 0 "), "nothing was stopped by{rule}:\n{rules}");
        }
        self.cuts.clear();
        self.loss_percent = 0;
        self.apply();
    }

    fn apply(&self) {
        let all = self.rules(self.loss_percent);
        self.try_rules("", &all).unwrap_or_else(|why| panic!("{why}\n{all}"));
    }

    /// One table, which replaces the one before at once.
    fn rules(&self, loss_percent: u32) -> String {
        let mut rules = String::new();
        for (from, to) in &self.cuts {
            let _ = writeln!(rules, "iifname \"{from}\" oifname \"{to}\" counter drop");
        }
        if 0 < loss_percent {
            let _ = writeln!(rules, "numgen random mod 100 < {loss_percent} counter drop");
        }
        format!(
            "table bridge lab\ndelete table bridge lab\ntable bridge lab {{\nchain forward {{\n\
             type filter hook forward priority 0\n{rules}}}\n}}\n"
        )
    }

    fn try_rules(&self, what: &str, rules: &str) -> Result<(), String> {
        run(&self.switch, "nft -f -", rules).map(|_| ()).map_err(|said| lacking(what, &said))
    }
}

/// A fresh network namespace, with nothing in it but a loopback that is down.
fn namespace() -> Result<OwnedFd, String> {
    let mut first = Command::new("unshare")
        .args(["--net", "sh", "-c", "echo made && exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare is part of every Linux");
    let mut line = String::new();
    let said = first.stdout.take().expect("it is piped");
    BufReader::new(said).read_line(&mut line).expect("a pipe can be read");
    let held = File::open(format!("/proc/{}/ns/net", first.id()));
    // It ends with its input.
    drop(first.stdin.take());
    let mut complaint = String::new();
    let mut said = first.stderr.take().expect("it is piped");
    said.read_to_string(&mut complaint).expect("a pipe can be read");
    first.wait().expect("it has ended");
    if line != "made\n" {
        return Err(lacking("network namespaces", &complaint));
    }
    Ok(held.expect("its first process was there").into())
}

/// What is said of a kernel that cannot do this. Anything else that goes wrong is a fault of the test.
fn lacking(what: &str, said: &str) -> String {
    let is_known = LACKING.iter().any(|words| said.contains(words));
    assert!(is_known, "{what}: {said}");
    format!("this kernel has no {what}, or keeps them from root: {}", said.trim())
}

fn try_tool(place: &Place, what: &str, line: &str) -> Result<(), String> {
    run(place, line, "").map(|_| ()).map_err(|said| lacking(what, &said))
}

fn tool(place: &Place, line: &str) -> String {
    run(place, line, "").unwrap_or_else(|said| panic!("{line}: {said}"))
}

/// Runs a line of words there. Returns what it printed, or its complaint.
fn run(place: &Place, line: &str, input: &str) -> Result<String, String> {
    let mut words = line.split(' ');
    let name = words.next().expect("a program");
    let mut program = Command::new(name);
    program.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = place.act(|| program.spawn()).unwrap_or_else(|fault| {
        panic!("{name}: {fault}: apt-get install iproute2 nftables");
    });
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads all of it");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn is_installed(name: &str) -> bool {
    Command::new(name).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}
