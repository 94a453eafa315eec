//! Agents as processes that are the servers of one cluster.
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Measured;
use crate::agents::{Agent, LOOK, PATIENCE, TRUE, free_port, job, write};
use crate::http::Http;
use crate::program::Program;

/// Servers on this machine.
pub(crate) struct Servers {
    servers: Vec<(Agent, String)>,
    _folder: TempDir,
}

impl Servers {
    /// So many in `folder`; `more` is laid into each one's configuration.
    pub(crate) fn start(
        program: &Program,
        folder: TempDir,
        count: usize,
        more: &str,
    ) -> Measured<Self> {
        make_certificates(program, folder.path())?;
        let mut ports = Vec::new();
        for _ in 0..count {
            ports.push((free_port()?, free_port()?));
        }
        let join: Vec<String> =
            ports.iter().map(|(_, rpc)| format!("\"127.0.0.1:{rpc}\"")).collect();
        let mut servers = Vec::new();
        for (number, &(http, rpc)) in ports.iter().enumerate() {
            let own = folder.path().join(format!("s{number}"));
            fs::create_dir(&own).map_err(|why| why.to_string())?;
            let text = server_config(&own, (http, rpc), (count, &join.join(", "))) + more;
            let config = write(&own, "agent.hcl", &text)?;
            let agent = Agent::spawn(program, &own, &["agent", "-config", &config], http)?;
            servers.push((agent, format!("127.0.0.1:{rpc}")));
        }
        let mut servers = Self { servers, _folder: folder };
        for (server, _) in &mut servers.servers {
            server.leader()?;
        }
        // All have the write, so that no one of them needs another's log to lead.
        servers.write(0, "first")?;
        sleep(Duration::from_secs(1));
        Ok(servers)
    }

    /// Which of them leads.
    pub(crate) fn leader(&mut self) -> Measured<usize> {
        let leader = self.servers[0].0.leader()?;
        let at = self.servers.iter().position(|(_, address)| *address == leader);
        at.ok_or_else(|| "the leader is none of them".to_owned())
    }

    pub(crate) fn http(&self, server: usize) -> SocketAddr {
        self.servers[server].0.http
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.servers.iter().map(|(agent, _)| agent.process.id()).collect()
    }

    /// What one of them says of itself at `/v1/metrics`, by the end of the name.
    pub(crate) fn gauge(&self, server: usize, name: &str) -> Measured<u64> {
        let said = Http::connect(self.servers[server].0.http)?.read("/v1/metrics")?.body;
        let gauges = said["Gauges"].as_array().into_iter().flatten();
        let mut named = gauges.filter(|gauge| gauge["Name"] == format!("nomad.{name}"));
        let value = named.next().and_then(|gauge| gauge["Value"].as_f64());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it counts")]
        value.map(|value| value as u64).ok_or_else(|| format!("no gauge {name}"))
    }

    /// Kills the leader; how long until another server has accepted a write.
    pub(crate) fn write_after_kill(mut self) -> Measured<Duration> {
        let at = self.leader()?;
        let (mut killed, _) = self.servers.remove(at);
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

fn server_config(own: &Path, (http, rpc): (u16, u16), (count, join): (usize, &str)) -> String {
    let tls = own.parent().unwrap_or(own).display();
    format!(
        "name = \"{}\"\ndata_dir = \"{}\"\nbind_addr = \"127.0.0.1\"\n\
         ports {{\n  http = {http}\n  rpc = {rpc}\n}}\n\
         server {{\n  enabled = true\n  bootstrap_expect = {count}\n  server_join {{\n    retry_join = [{join}]\n  }}\n}}\n\
         tls {{\n  ca_file = \"{tls}/drover-agent-ca.pem\"\n  cert_file = \"{tls}/global-server-drover.pem\"\n  \
         key_file = \"{tls}/global-server-drover-key.pem\"\n}}\n",
        own.file_name().unwrap_or_default().to_string_lossy(),
        own.join("data").display(),
    )
}
