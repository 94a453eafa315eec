# Waits to be asked: drover job dispatch -meta size=small resize picture.txt
job "resize" {
  type = "batch"

  parameterized {
    payload       = "required"
    meta_required = ["size"]
  }

  group "resize" {
    task "work" {
      driver = "raw_exec"
      dispatch_payload {
        file = "picture.txt"
      }
      config {
        command = "/bin/sh"
        args    = ["-c", "echo to $NOMAD_META_size: $(cat $NOMAD_TASK_DIR/picture.txt)"]
      }
      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
