# What the agent of the server may read, and nothing else. It can neither list nor change.
path "parapet/data/server" {
  capabilities = ["read"]
}

path "parapet/data/migration" {
  capabilities = ["read"]
}
