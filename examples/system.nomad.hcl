# One on every node: something that looks after the machine itself.
# drover job run examples/system.nomad.hcl
job "watch" {
  type     = "system"
  priority = 80

  # Two machines at a time get a new version, the next two half a minute later.
  update {
    max_parallel = 2
    stagger      = "30s"
  }

  group "watch" {
    task "load" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args    = ["-c", "while true; do cat /proc/loadavg; sleep 10; done"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
