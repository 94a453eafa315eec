# A service: three web servers, each on a port that the scheduler picks.
#
#   drover job run examples/web.nomad.hcl
job "web" {
  group "site" {
    count = 3

    network {
      port "http" {}
    }

    update {
      max_parallel     = 1
      min_healthy_time = "5s"
    }

    task "server" {
      driver = "raw_exec"

      # Needs python3 on the node. NOMAD_PORT_http is the port that was picked.
      config {
        command = "/usr/bin/env"
        args    = ["python3", "-m", "http.server", "${NOMAD_PORT_http}", "--directory", "local"]
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "3s"

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
