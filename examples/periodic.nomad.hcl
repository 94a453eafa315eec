# Once a quarter of an hour in Zurich, never two at a time.
job "report" {
  type = "batch"

  periodic {
    cron             = "*/15 * * * *"
    time_zone        = "Europe/Zurich"
    prohibit_overlap = true
  }

  group "report" {
    task "print" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "date"]
      }
      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
