//! Agents as an operator runs them: configuration files in a directory of the test, certificates made
//! by the program, ports that the kernel picked.
//!
//! Invariants
//! - every process of a test ends with the test, tasks included;
//! - a test waits for a condition, never for a time.
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

mod host;
mod place;

pub(crate) use self::host::processes_with;
use self::host::{free_port, give_all};
pub(crate) use self::place::Place;

/// Longer than anything here takes on a busy machine; only a hang lasts so long.
const PATIENCE: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What one run of the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    /// Both streams, standard output first.
    pub(crate) text: String,
}

/// A directory, and everything that runs in it.
pub(crate) struct Site {
    dir: tempfile::TempDir,
}

/// What an agent is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    /// Founds a cluster with so many; zero joins one.
    Server {
        expect: u32,
    },
    Client,
    /// Alone and both.
    Both,
    /// Founds a cluster with so many, and is a client as well.
    Double {
        expect: u32,
    },
}

/// One agent's place: its configuration, data and ports outlive its process.
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    place: Place,
    pub(crate) http_port: u16,
    pub(crate) rpc_port: u16,
    /// Whom it runs as, and the program where that one can read it; `None`: as the test.
    user: Option<(u32, PathBuf)>,
    process: Option<Child>,
}

/// An answer of the HTTP API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|fault| panic!("{fault}: {} {}", self.status, self.text))
    }
}

/// Returns what `look` found, once it has found something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// As `wait_for`, where there is nothing to find but the truth.
pub(crate) fn wait_until(what: &str, mut look: impl FnMut() -> bool) {
    wait_for(what, || look().then_some(()));
}

/// Where other agents reach these.
pub(crate) fn rpc_addresses(agents: &[Agent]) -> Vec<String> {
    agents.iter().map(|agent| format!("{}:{}", agent.place.address, agent.rpc_port)).collect()
}

/// One request to whoever listens on the port. `None`: nobody answered, or the answer broke off.
pub(crate) fn ask(http_port: u16, method: &str, path: &str, body: &str) -> Option<Answer> {
    ask_at(("127.0.0.1", http_port), method, path, body)
}

fn ask_at(address: (&str, u16), method: &str, path: &str, body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let length = body.len();
    // Version 1.0: the body ends with the connection, and has no chunks.
    let head = format!("{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all((head + body).as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let promised = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
    });
    let is_whole = promised.is_none_or(|promised: usize| promised == body.len());
    is_whole.then(|| Answer { status, text: body.to_owned() })
}

/// Run the program to its end.
pub(crate) fn drover(dir: &Path, args: &[&str]) -> Said {
    let mut program = Command::new(env!("CARGO_BIN_EXE_drover"));
    program.current_dir(dir).args(args).env_remove("NOMAD_ADDR").env_remove("DROVER_ADDR");
    let output = program.stdin(Stdio::null()).output().expect("the program starts");
    let text = [output.stdout, output.stderr].concat();
    Said { status: output.status, text: String::from_utf8_lossy(&text).into_owned() }
}

impl Site {
    /// A directory with an authority, and certificates for every kind of agent.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let site = Self { dir };
        site.make_certificates("tls");
        site
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// An authority of its own, in `folder`.
    pub(crate) fn make_certificates(&self, folder: &str) {
        let folder = self.path().join(folder);
        fs::create_dir(&folder).expect("the folder is new");
        for args in [
            &["tls", "ca", "create"][..],
            &["tls", "cert", "create", "-server"],
            &["tls", "cert", "create", "-client"],
            &["tls", "cert", "create", "-server", "-client"],
        ] {
            let said = drover(&folder, args);
            assert!(said.status.success(), "{args:?}: {}", said.text);
        }
    }

    /// An agent that has not been started yet.
    pub(crate) fn agent(&self, name: &str, part: Part, join: &[u16]) -> Agent {
        self.agent_of("tls", name, part, join)
    }

    /// As `agent`, with certificates from another folder.
    pub(crate) fn agent_of(&self, tls: &str, name: &str, part: Part, join: &[u16]) -> Agent {
        let join: Vec<_> = join.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        self.agent_at(Place::here(), tls, name, part, &join)
    }

    /// As `agent_of`, on any machine.
    pub(crate) fn agent_at(
        &self,
        place: Place,
        tls: &str,
        name: &str,
        part: Part,
        join: &[String],
    ) -> Agent {
        let (http_port, rpc_port) = (free_port(), free_port());
        let dir = self.path().join(name);
        fs::create_dir_all(dir.join("config")).expect("the name is new");
        let agent = Agent {
            name: name.to_owned(),
            dir,
            place,
            http_port,
            rpc_port,
            user: None,
            process: None,
        };
        agent.configure(&self.path().join(tls), part, join);
        agent
    }

    /// Servers that found a cluster together, started.
    pub(crate) fn servers(&self, count: u32) -> Vec<Agent> {
        self.founders(count, Part::Server { expect: count })
    }

    /// Agents of this kind that found a cluster together, started.
    pub(crate) fn founders(&self, count: u32, part: Part) -> Vec<Agent> {
        let mut servers: Vec<Agent> =
            (1..=count).map(|nth| self.agent(&format!("s{nth}"), part, &[])).collect();
        let all = rpc_addresses(&servers);
        for server in &mut servers {
            server.configure(&self.path().join("tls"), part, &all);
            server.start();
        }
        servers
    }

    /// A started client of these servers.
    pub(crate) fn client(&self, name: &str, servers: &[Agent]) -> Agent {
        let all = rpc_addresses(servers);
        let mut client = self.agent_at(Place::here(), "tls", name, Part::Client, &all);
        client.start();
        client
    }

    /// A file of the test.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).expect("the file can be written");
        path
    }
}

impl Drop for Site {
    /// Tasks outlive agents by design; here they all carry the test's directory in their environment.
    fn drop(&mut self) {
        for pid in processes_with(&self.path().display().to_string()) {
            let _it_may_have_ended = kill_process(pid, Signal::KILL);
        }
    }
}

impl Agent {
    fn configure(&self, tls: &Path, part: Part, join: &[String]) {
        let join: Vec<String> = join.iter().map(|address| format!("\"{address}\"")).collect();
        let join = join.join(", ");
        let server = |expect: u32| {
            format!(
                "server {{\n  enabled = true\n  bootstrap_expect = {expect}\n  \
                 min_heartbeat_ttl = \"1s\"\n  heartbeat_grace = \"1s\"\n  \
                 server_join {{\n    retry_join = [{join}]\n  }}\n}}\n\
                 autopilot {{\n  last_contact_threshold = \"2s\"\n  \
                 server_stabilization_time = \"1s\"\n}}\n"
            )
        };
        let client = "client {\n  enabled = true\n}\n";
        let raw_exec = "plugin \"raw_exec\" {\n  config {\n    enabled = true\n  }\n}\n";
        let (role, parts) = match part {
            Part::Server { expect } => ("server", server(expect)),
            Part::Client => {
                let client = format!("client {{\n  enabled = true\n  servers = [{join}]\n}}\n");
                ("client", client + raw_exec)
            }
            Part::Both => ("server-client", server(1) + client + raw_exec),
            Part::Double { expect } => ("server-client", server(expect) + client + raw_exec),
        };
        let tls = format!("{}/", tls.display());
        let text = format!(
            "name = \"{}\"\ndata_dir = \"{}\"\nbind_addr = \"{}\"\n\
             ports {{\n  http = {}\n  rpc = {}\n}}\n\
             tls {{\n  ca_file = \"{tls}drover-agent-ca.pem\"\n  \
             cert_file = \"{tls}global-{role}-drover.pem\"\n  \
             key_file = \"{tls}global-{role}-drover-key.pem\"\n}}\n{parts}",
            self.name,
            self.data_dir().display(),
            self.place.address,
            self.http_port,
            self.rpc_port,
        );
        fs::write(self.dir.join("config/agent.hcl"), text).expect("the file can be written");
    }

    /// A second file, which is laid over the first.
    pub(crate) fn configure_more(&self, text: &str) {
        fs::write(self.dir.join("config/more.hcl"), text).expect("the file can be written");
    }

    /// From its next start on it runs as this user, to whom the site belongs then. Only root can do that.
    pub(crate) fn run_as(&mut self, user: u32, site: &Site) {
        let program = site.path().join("drover");
        fs::copy(env!("CARGO_BIN_EXE_drover"), &program).expect("there is room for a copy");
        give_all(site.path(), user);
        self.user = Some((user, program));
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Starts it, and returns at once.
    pub(crate) fn launch(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(self.dir.join("log"));
        let log = log.expect("the log can be written");
        let mut program = Command::new("sh");
        // What it keeps to itself it must not owe to whoever starts it.
        program.args(["-c", "umask 0; exec \"$0\" agent -config config"]);
        match &self.user {
            None => program.arg(env!("CARGO_BIN_EXE_drover")),
            Some((user, path)) => program.arg(path).uid(*user).gid(*user),
        };
        program
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log);
        self.process = Some(self.place.act(|| program.spawn()).expect("the program starts"));
    }

    /// Starts it, and returns when it answers.
    pub(crate) fn start(&mut self) {
        self.launch();
        wait_until(&format!("{} answers", self.name), || {
            if let Some(status) = self.ended() {
                panic!("{} ended, {status}:\n{}", self.name, self.log());
            }
            self.try_ask("GET", "/v1/agent/self", "").is_some()
        });
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// As the machine would by losing its power: no word of farewell.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("it can be killed");
        process.wait().expect("it has ended");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        kill_process(Pid::from_child(process), signal).expect("it can be asked");
    }

    /// As an operator stops it: asked to end, and waited for.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let mut process = self.process.take().expect("it runs");
        let status = process.wait().expect("it has ended");
        assert!(status.success(), "{} ended, {status}:\n{}", self.name, self.log());
    }

    /// Steps through its input log. It must have been stopped, as the last digest in the log is that of
    /// the end.
    pub(crate) fn assert_replays(&self) {
        let data_dir = self.data_dir().display().to_string();
        let said = drover(&self.dir, &["replay", &data_dir, "--verify", "--json"]);
        assert!(said.status.success(), "the inputs of {}: {}", self.name, said.text);
        let whole: Value = serde_json::from_str(&said.text).expect("it is JSON");
        let newest = whole["Segments"].as_array().and_then(|all| all.last()).expect("a segment");
        assert!(0 < newest["Digests"].as_u64().unwrap_or(0), "nothing was compared: {whole:#}");
    }

    /// How it ended, if it did by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let process = self.process.as_mut()?;
        let status = process.try_wait().expect("it is ours to wait for")?;
        self.process = None;
        Some(status)
    }

    /// Everything its processes have printed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Waits until its log says all of `words` in one line.
    pub(crate) fn wait_for_line(&self, words: &[&str]) -> String {
        wait_for(&format!("{} says {words:?}", self.name), || {
            let log = self.log();
            let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            line.map(str::to_owned)
        })
    }

    /// The program as an operator would use it against this agent.
    pub(crate) fn cli(&self, args: &[&str]) -> Said {
        let address = format!("-address=http://{}:{}", self.place.address, self.http_port);
        let words = args.iter().take_while(|arg| arg.chars().all(char::is_alphabetic)).count();
        let (command, rest) = args.split_at(words.min(2));
        let all = [command, &[&address], rest].concat();
        self.place.act(|| drover(self.dir.parent().expect("it is in a site"), &all))
    }

    /// One request. `None`: nobody answered, or the answer broke off.
    pub(crate) fn try_ask(&self, method: &str, path: &str, body: &str) -> Option<Answer> {
        let address = (&*self.place.address, self.http_port);
        self.place.act(|| ask_at(address, method, path, body))
    }

    /// What the agent says; it must say yes.
    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.try_ask("GET", path, "");
        let answer = answer.unwrap_or_else(|| panic!("{} does not answer {path}", self.name));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    /// As `get`, where no answer, or another one, is no surprise.
    pub(crate) fn look(&self, path: &str) -> Option<Value> {
        let answer = self.try_ask("GET", path, "")?;
        (answer.status == 200).then(|| answer.json())
    }

    /// The port of whoever leads, as this agent sees it.
    pub(crate) fn leader_port(&self) -> Option<u16> {
        let leader = self.look("/v1/status/leader")?;
        leader.as_str()?.rsplit_once(':')?.1.parse().ok()
    }

    /// The allocs of a job: `(id, client status)`, in the order of their ids.
    pub(crate) fn allocs(&self, job: &str) -> Vec<(String, String)> {
        let list = self.look(&format!("/v1/job/{job}/allocations")).unwrap_or_default();
        let of = |alloc: &Value| (text_of(alloc, "ID"), text_of(alloc, "ClientStatus"));
        let mut allocs: Vec<_> = list.as_array().into_iter().flatten().map(of).collect();
        allocs.sort();
        allocs
    }

    /// How many allocs of a job have this status.
    pub(crate) fn count(&self, job: &str, status: &str) -> usize {
        self.allocs(job).iter().filter(|(_, found)| found == status).count()
    }

    /// The status of a node by its name.
    pub(crate) fn node_status(&self, name: &str) -> Option<String> {
        let nodes = self.look("/v1/nodes")?;
        let node = nodes.as_array()?.iter().find(|node| text_of(node, "Name") == name)?;
        Some(text_of(node, "Status"))
    }

    /// Runs a job file, which must be taken.
    pub(crate) fn run(&self, file: &Path) {
        let said = self.cli(&["job", "run", "-detach", &file.display().to_string()]);
        assert!(said.status.success(), "{}", said.text);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
        if thread::panicking() {
            eprintln!("---- {}\n{}", self.name, self.log());
        }
    }
}

/// A member of a JSON object, as text.
pub(crate) fn text_of(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// A job of one task, which is a shell script.
pub(crate) fn job(id: &str, kind: &str, count: u32, script: &str) -> String {
    let script = serde_json::to_string(script).expect("a string is JSON");
    format!(
        "job \"{id}\" {{\n  type = \"{kind}\"\n  group \"g\" {{\n    count = {count}\n    \
         restart {{\n      attempts = 0\n      mode = \"fail\"\n    }}\n    \
         reschedule {{\n      attempts = 0\n      unlimited = false\n    }}\n    \
         task \"t\" {{\n      driver = \"raw_exec\"\n      config {{\n        \
         command = \"/bin/sh\"\n        args = [\"-c\", {script}]\n      }}\n      \
         resources {{\n        cpu = 10\n        memory = 10\n      }}\n    }}\n  }}\n}}\n"
    )
}

/// The one who leads, as every one of `servers` sees it.
pub(crate) fn leader_of(servers: &[&Agent]) -> usize {
    wait_for("all servers see one leader", || {
        let ports: BTreeSet<_> = servers.iter().map(|server| server.leader_port()).collect();
        let leader = if ports.len() == 1 { ports.into_iter().next().flatten() } else { None };
        servers.iter().position(|server| Some(server.rpc_port) == leader)
    })
}
