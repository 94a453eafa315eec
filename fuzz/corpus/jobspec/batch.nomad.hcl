# A batch job whose groups are made from a variable.
#
#   drover job run -var 'shards={"north" = 2, "south" = 1}' examples/batch.nomad.hcl
variable "shards" {
  description = "How many workers each shard has."
  type        = map(number)
  default     = { east = 1, west = 2 }
}

variable "greeting" {
  type    = string
  default = "hello"
}

locals {
  names = [for name, workers in var.shards : "${name}:${workers}"]
}

job "count" {
  type = "batch"

  meta {
    shards = join(",", local.names)
  }

  dynamic "group" {
    for_each = var.shards
    iterator = shard
    labels   = ["shard-${shard.key}"]

    content {
      count = shard.value

      task "work" {
        driver = "raw_exec"

        config {
          command = "/bin/sh"
          args = ["-c", <<-EOT
            echo "$GREETING from worker $NOMAD_ALLOC_INDEX of ${shard.key}"
            for step in 1 2 3; do echo "step $step"; sleep 1; done
          EOT
          ]
        }

        env {
          GREETING = upper(var.greeting)
        }

        resources {
          cpu    = 50
          memory = 32
        }
      }
    }
  }
}
