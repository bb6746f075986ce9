# Vault, sealed at its start: its operators unseal it (README.md, "Secrets").
storage "raft" {
  path    = "/vault/file"
  node_id = "vault-1"
}

listener "tcp" {
  address         = "0.0.0.0:8200"
  tls_cert_file   = "/run/secrets/vault.crt"
  tls_key_file    = "/run/secrets/vault.key"
  tls_min_version = "tls13"
}

api_addr     = "https://vault:8200"
cluster_addr = "https://vault:8201"

# Raft maps its file into memory; locking it would need a capability that the container does not have.
disable_mlock = true
ui            = false

# A lease that nobody renews ends within a day.
default_lease_ttl = "1h"
max_lease_ttl     = "24h"
