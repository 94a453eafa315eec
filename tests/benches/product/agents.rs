//! Agents as processes: one for trying things out, or three that are a cluster.
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::Measured;
use crate::http::Http;
use crate::program::Program;

/// Between two looks at what cannot be waited for.
const LOOK: Duration = Duration::from_millis(1);
/// The same where there is much to be seen at each look.
const LOOK_AT_MANY: Duration = Duration::from_millis(50);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const TRUE: &[&str] = &["/bin/true"];
pub(crate) const SLEEP: &[&str] = &["/bin/sleep", "600"];
pub(crate) const JOB_FILE: &str = r#"
job "file" {
  type = "batch"
  group "work" {
    ephemeral_disk { size = 10 }
    task "work" {
      driver = "raw_exec"
      config { command = "/bin/true" }
      resources {
        cpu    = 1
        memory = 10
      }
      logs {
        max_files     = 1
        max_file_size = 1
      }
    }
  }
}
"#;

/// A batch job of `count` tasks that need next to nothing.
pub(crate) fn job(name: &str, count: u32, command: &[&str]) -> Json {
    let task = json!({
        "Name": "work",
        "Driver": "raw_exec",
        "Config": { "command": command[0], "args": &command[1..] },
        "Resources": { "CPU": 1, "MemoryMB": 10 },
        "LogConfig": { "MaxFiles": 1, "MaxFileSizeMB": 1 },
    });
    let group = json!({
        "Name": "work",
        "Count": count,
        "EphemeralDisk": { "SizeMB": 10 },
        "Tasks": [task],
    });
    json!({ "Job": {
        "ID": name, "Name": name, "Type": "batch", "Datacenters": ["dc1"], "TaskGroups": [group],
    } })
}

/// A process that does not outlive its measurement.
struct Agent {
    process: Child,
    http: SocketAddr,
}

impl Agent {
    fn spawn(program: &Program, folder: &Path, arguments: &[&str], http: u16) -> Measured<Self> {
        let log = File::create(folder.join("log")).map_err(|why| why.to_string())?;
        let errors = log.try_clone().map_err(|why| why.to_string())?;
        let process = program.command(arguments, None).stdout(log).stderr(errors).spawn();
        let process = process.map_err(|why| format!("cannot start an agent: {why}"))?;
        Ok(Self { process, http: SocketAddr::from(([127, 0, 0, 1], http)) })
    }

    /// Until the agent names a leader.
    fn leader(&mut self) -> Measured<String> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let answer =
                Http::connect(self.http).and_then(|mut http| http.read("/v1/status/leader"));
            match answer {
                Ok(answer) if answer.body.as_str().is_some_and(|leader| !leader.is_empty()) => {
                    return Ok(answer.body.as_str().unwrap_or_default().to_owned());
                }
                Ok(_) | Err(_) => sleep(LOOK),
            }
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(format!("the agent ended with {status}"));
            }
        }
        Err("no leader was found".to_owned())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have been killed already: that is what is measured.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// `drover agent -dev`.
pub(crate) struct Dev {
    agent: Agent,
    connection: Http,
    folder: TempDir,
    pub(crate) http: SocketAddr,
    /// From before the process to the first leader.
    pub(crate) started_in: Duration,
    /// And to its node being ready for tasks.
    pub(crate) ready_in: Duration,
}

impl Dev {
    pub(crate) fn start(program: &Program) -> Measured<Self> {
        let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
        let (http, rpc) = (free_port()?, free_port()?);
        // Room for a thousand tasks, whatever the machine has.
        let text = format!(
            "ports {{\n  http = {http}\n  rpc = {rpc}\n}}\n\
             client {{\n  cpu_total_compute = 100000\n  memory_total_mb = 100000\n}}\n"
        );
        let config = write(folder.path(), "agent.hcl", &text)?;
        let begun = Instant::now();
        let arguments = ["agent", "-dev", "-config", &config];
        let mut agent = Agent::spawn(program, folder.path(), &arguments, http)?;
        agent.leader()?;
        let started_in = begun.elapsed();
        let http = agent.http;
        let mut connection = Http::connect(http)?;
        while begun.elapsed() < PATIENCE {
            let nodes = connection.read("/v1/nodes")?.body;
            if nodes[0]["Status"] == "ready" {
                let ready_in = begun.elapsed();
                return Ok(Self { agent, connection, folder, http, started_in, ready_in });
            }
            sleep(LOOK);
        }
        Err("the node does not become ready".to_owned())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.agent.process.id()
    }

    pub(crate) fn write_file(&self, name: &str, text: &str) -> Measured<String> {
        write(self.folder.path(), name, text)
    }

    /// From before `job` is sent to when its one alloc is said to have `status`.
    pub(crate) fn until(&mut self, job: &Json, status: &str) -> Measured<Duration> {
        let name = job["Job"]["ID"].as_str().unwrap_or_default();
        let begun = Instant::now();
        self.submit(job)?;
        let mut index = 0;
        while begun.elapsed() < PATIENCE {
            let path = format!("/v1/job/{name}/allocations?index={index}&wait=10s");
            let answer = self.connection.read(&path)?;
            if answer.body[0]["ClientStatus"] == status {
                return Ok(begun.elapsed());
            }
            index = answer.index.max(1);
        }
        Err(format!("{name} does not become {status}"))
    }

    /// The same for a job of many tasks.
    pub(crate) fn until_all(&mut self, job: &Json, count: u32, status: &str) -> Measured<Duration> {
        let begun = Instant::now();
        self.submit(job)?;
        let name = job["Job"]["ID"].as_str().unwrap_or_default();
        self.wait_for_all(name, count, status)?;
        Ok(begun.elapsed())
    }

    /// Nothing of the job runs any more.
    pub(crate) fn stop_job(&mut self, name: &str, count: u32) -> Measured<()> {
        self.connection.delete(&format!("/v1/job/{name}"))?;
        self.wait_for_all(name, count, "Complete")
    }

    fn submit(&mut self, job: &Json) -> Measured<()> {
        let answer = self.connection.put("/v1/jobs", job)?;
        match answer.status {
            200 => Ok(()),
            status => Err(format!("the job was refused: {status} {}", answer.body)),
        }
    }

    fn wait_for_all(&mut self, name: &str, count: u32, status: &str) -> Measured<()> {
        let begun = Instant::now();
        let mut last = Json::Null;
        while begun.elapsed() < PATIENCE {
            last = self.connection.read(&format!("/v1/job/{name}/summary"))?.body;
            if last["Summary"]["work"][status] == count {
                return Ok(());
            }
            sleep(LOOK_AT_MANY);
        }
        Err(format!("not all tasks become {status}: {last}"))
    }
}

/// Three servers on this machine.
pub(crate) struct Trio {
    servers: Vec<(Agent, String)>,
    _folder: TempDir,
}

impl Trio {
    pub(crate) fn start(program: &Program) -> Measured<Self> {
        let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
        make_certificates(program, folder.path())?;
        let mut ports = Vec::new();
        for _ in 0..3 {
            ports.push((free_port()?, free_port()?));
        }
        let join: Vec<String> =
            ports.iter().map(|(_, rpc)| format!("\"127.0.0.1:{rpc}\"")).collect();
        let mut servers = Vec::new();
        for (number, &(http, rpc)) in ports.iter().enumerate() {
            let own = folder.path().join(format!("s{number}"));
            fs::create_dir(&own).map_err(|why| why.to_string())?;
            let text = server_config(&own, (http, rpc), &join.join(", "));
            let config = write(&own, "agent.hcl", &text)?;
            let agent = Agent::spawn(program, &own, &["agent", "-config", &config], http)?;
            servers.push((agent, format!("127.0.0.1:{rpc}")));
        }
        let mut trio = Self { servers, _folder: folder };
        for (server, _) in &mut trio.servers {
            server.leader()?;
        }
        // All three have the write, so that no one of them needs another's log to lead.
        trio.write(0, "first")?;
        sleep(Duration::from_secs(1));
        Ok(trio)
    }

    /// Kills the leader; how long until another server has accepted a write.
    pub(crate) fn write_after_kill(mut self) -> Measured<Duration> {
        let leader = self.servers[0].0.leader()?;
        let at = self.servers.iter().position(|(_, address)| *address == leader);
        let (mut killed, _) = self.servers.remove(at.ok_or("the leader is none of the three")?);
        let begun = Instant::now();
        killed.process.kill().map_err(|why| format!("cannot kill the leader: {why}"))?;
        let mut tries = 0;
        while begun.elapsed() < PATIENCE {
            tries += 1;
            if self.write(0, &format!("next-{tries}")).is_ok() {
                return Ok(begun.elapsed());
            }
            sleep(LOOK);
        }
        Err("no write was accepted".to_owned())
    }

    fn write(&self, server: usize, name: &str) -> Measured<()> {
        let answer =
            Http::connect(self.servers[server].0.http)?.put("/v1/jobs", &job(name, 1, TRUE))?;
        match answer.status {
            200 => Ok(()),
            status => Err(format!("{status} {}", answer.body)),
        }
    }
}

fn make_certificates(program: &Program, folder: &Path) -> Measured<()> {
    for arguments in [&["tls", "ca", "create"][..], &["tls", "cert", "create", "-server"]] {
        let made =
            program.command(arguments, None).current_dir(folder).stdout(Stdio::null()).status();
        if !made.as_ref().is_ok_and(std::process::ExitStatus::success) {
            return Err(format!("`drover {}`: {made:?}", arguments.join(" ")));
        }
    }
    Ok(())
}

fn server_config(own: &Path, (http, rpc): (u16, u16), join: &str) -> String {
    let tls = own.parent().unwrap_or(own).display();
    format!(
        "name = \"{}\"\ndata_dir = \"{}\"\nbind_addr = \"127.0.0.1\"\n\
         ports {{\n  http = {http}\n  rpc = {rpc}\n}}\n\
         server {{\n  enabled = true\n  bootstrap_expect = 3\n  server_join {{\n    retry_join = [{join}]\n  }}\n}}\n\
         tls {{\n  ca_file = \"{tls}/drover-agent-ca.pem\"\n  cert_file = \"{tls}/global-server-drover.pem\"\n  \
         key_file = \"{tls}/global-server-drover-key.pem\"\n}}\n",
        own.file_name().unwrap_or_default().to_string_lossy(),
        own.join("data").display(),
    )
}

/// Free for both protocols a moment ago.
fn free_port() -> Measured<u16> {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = tcp.map_err(|why| why.to_string())?.port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free".to_owned())
}

fn write(folder: &Path, name: &str, text: &str) -> Measured<String> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(path.display().to_string())
}
