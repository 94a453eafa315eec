# Where something may run: every way to say it.
#
#   drover job run examples/placement.nomad.hcl
job "placement" {
  # Globs are allowed.
  datacenters = ["dc*"]

  # The long form.
  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  # Short forms of operators.
  constraint {
    attribute = "${attr.kernel.version}"
    version   = ">= 4.0"
  }

  group "apart" {
    count = 2

    # Never two allocations on one node.
    constraint {
      distinct_hosts = true
    }

    constraint {
      attribute = "${node.unique.name}"
      regexp    = "^[a-z]"
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
