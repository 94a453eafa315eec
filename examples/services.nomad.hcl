# A service that others find in Consul's catalog, and that Consul asks whether it is well. Needs
# consul { address = "127.0.0.1:8500" } in the configuration of the clients.
#
#   drover job run examples/services.nomad.hcl
#   dig @127.0.0.1 -p 8600 shop.service.consul SRV
job "shop" {
  group "web" {
    count = 2

    network {
      port "http" {}
    }

    # It is taken out of the catalog at once when it is to stop; until callers have noticed, it runs on.
    shutdown_delay = "5s"

    service {
      name = "shop"
      port = "http"
      tags = ["live", "rack-${meta.rack}"]

      # While a new version is tried, its allocs are found by this tag alone.
      canary_tags = ["canary"]

      check {
        type     = "http"
        path     = "/"
        interval = "10s"
        timeout  = "2s"
      }
    }

    task "server" {
      driver = "raw_exec"

      config {
        command = "/usr/bin/env"
        args    = ["python3", "-m", "http.server", "${NOMAD_PORT_http}", "--directory", "local"]
      }
    }
  }
}
