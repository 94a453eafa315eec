# One after the other: the cache, then the api; and both after another job has done its work.
#
#   drover job run examples/batch.nomad.hcl
#   drover job run examples/after.nomad.hcl
#   drover job status after     says what it waits for
job "after" {
  # Every group waits until the batch job has succeeded. A job may be named before it exists.
  after {
    job   = "count"
    until = "complete"
  }

  group "cache" {
    task "sleep" {
      driver = "raw_exec"

      config {
        command = "/bin/sleep"
        args    = ["infinity"]
      }

      resources {
        cpu    = 20
        memory = 16
      }
    }
  }

  group "api" {
    count = 2

    # A group of this job. Once it is let in, the group never waits again until the job is stopped.
    after {
      group = "cache"
      until = "healthy"
    }

    task "sleep" {
      driver = "raw_exec"

      config {
        command = "/bin/sleep"
        args    = ["infinity"]
      }

      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
}
