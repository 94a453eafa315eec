//! Agents as processes, and the one that is for trying things out.
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::Measured;
use crate::http::Http;
use crate::program::Program;

/// Between two looks at what cannot be waited for.
pub(crate) const LOOK: Duration = Duration::from_millis(1);
/// The same where there is much to be seen at each look.
const LOOK_AT_MANY: Duration = Duration::from_millis(50);
/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

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
pub(crate) struct Agent {
    pub(crate) process: Child,
    pub(crate) http: SocketAddr,
}

impl Agent {
    pub(crate) fn spawn(
        program: &Program,
        folder: &Path,
        arguments: &[&str],
        http: u16,
    ) -> Measured<Self> {
        let log = File::create(folder.join("log")).map_err(|why| why.to_string())?;
        let errors = log.try_clone().map_err(|why| why.to_string())?;
        let process = program.command(arguments, None).stdout(log).stderr(errors).spawn();
        let process = process.map_err(|why| format!("cannot start an agent: {why}"))?;
        Ok(Self { process, http: SocketAddr::from(([127, 0, 0, 1], http)) })
    }

    /// Until the agent names a leader.
    pub(crate) fn leader(&mut self) -> Measured<String> {
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

/// Free for both protocols a moment ago.
pub(crate) fn free_port() -> Measured<u16> {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = tcp.map_err(|why| why.to_string())?.port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free".to_owned())
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) -> Measured<String> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(path.display().to_string())
}
