//! The file that `drover job init` writes.
//!
//! Invariants
//! - both examples are job files without an error, and run on any Linux with a shell.

/// How much the example explains.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Example {
    /// Every part with a comment.
    Explained,
    /// The bare job.
    Short,
}

/// The text of the example.
#[must_use]
pub const fn job_init(example: Example) -> &'static str {
    match example {
        Example::Explained => EXPLAINED,
        Example::Short => SHORT,
    }
}

const SHORT: &str = r#"job "example" {
  group "clock" {
    network {
      port "http" {}
    }

    task "tick" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args    = ["-c", "while true; do date; env | grep ^NOMAD_ | sort; sleep 1; done"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
"#;

const EXPLAINED: &str = r#"# A job says what should run. The servers find nodes for it, and keep it running.
#
#   drover job run example.nomad.hcl     start it, or change it to what this file says
#   drover job status example            see where it runs
#   drover job stop example              stop it
job "example" {
  # A "service" runs until it is stopped. A "batch" job runs until it has succeeded.
  type = "service"

  # Only nodes of these datacenters are considered. A star stands for any name.
  datacenters = ["*"]

  # From 1 to 100: when several jobs wait for room, the higher number goes first.
  priority = 50

  # Nodes must meet every constraint. Attributes of nodes are listed by `drover node status -verbose`.
  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  # How a new version of the job replaces the old one.
  update {
    max_parallel     = 1     # so many at once
    min_healthy_time = "10s" # a replacement must run this long before the next one is made
    healthy_deadline = "5m"  # and must get there within this time
    # canary         = 1     # so many run beside the old ones until `drover job promote`
    # auto_promote   = true  # or until they are healthy
    # auto_revert    = true  # when it fails, go back to the last version that was healthy
  }

  # The tasks of a group run together on one node. One running copy of a group is an allocation.
  group "clock" {
    # How many allocations of the group there should be.
    count = 1

    # A port that is free on the node. The task hears of it as NOMAD_PORT_http.
    # For a port of your choice: port "http" { static = 8080 }
    network {
      port "http" {}
    }

    # What happens on the node when a task ends badly: here two new starts within half an hour,
    # 15 seconds apart; after that the allocation has failed.
    restart {
      attempts = 2
      interval = "30m"
      delay    = "15s"
      mode     = "fail"
    }

    # When an allocation has failed, it is placed anew, on another node if possible.
    reschedule {
      delay          = "30s"
      delay_function = "exponential"
      max_delay      = "1h"
      unlimited      = true
    }

    # Disk space for logs and for files that the tasks share, in MiB.
    ephemeral_disk {
      size = 300
    }

    task "tick" {
      # raw_exec starts a program as it is, without isolation. Nodes offer it where their agent's
      # configuration says so; `drover agent -dev` does.
      driver = "raw_exec"

      # What the driver is told: a program and its arguments.
      config {
        command = "/bin/sh"
        args    = ["-c", "while true; do echo \"$GREETING $(date)\"; env | grep ^NOMAD_ | sort; sleep 1; done"]
      }

      # Variables of the task's environment. What the node knows can be filled in.
      env {
        GREETING = "hello from ${node.unique.name}, it is"
      }

      # When the task is stopped, it gets this signal, and after the timeout SIGKILL.
      kill_signal  = "SIGTERM"
      kill_timeout = "5s"

      # How much of what the task prints is kept: `drover alloc logs ALLOC`.
      logs {
        max_files     = 5
        max_file_size = 10
      }

      # What the task needs: MHz of CPU and MiB of memory. Nodes are filled up to what they have.
      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
"#;
