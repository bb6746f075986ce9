# Logs in with an AppRole, and writes each secret to a file of its own, which SECRETS_DIR names. The server
# follows the files that may change while it runs (OPERATION.md, "Secrets").
pid_file = "/tmp/agent.pid"

vault {
  address = "https://vault:8200"
  ca_cert = "/run/secrets/ca.crt"
}

auto_auth {
  method "approle" {
    config = {
      role_id_file_path                   = "/run/secrets/vault-role-id"
      secret_id_file_path                 = "/run/secrets/vault-secret-id"
      remove_secret_id_file_after_reading = false
    }
  }
}

template_config {
  exit_on_retry_failure         = true
  static_secret_render_interval = "1m"
}

template {
  destination          = "/run/vault/DATABASE_URL"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.DATABASE_URL }}{{ end }}"
}

template {
  destination          = "/run/vault/REDIS_URL"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.REDIS_URL }}{{ end }}"
}

template {
  destination          = "/run/vault/SIGNING_KEY"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.SIGNING_KEY }}{{ end }}"
}

template {
  destination          = "/run/vault/SESSION_SECRET"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.SESSION_SECRET }}{{ end }}"
}

template {
  destination          = "/run/vault/FIELD_KEYSET"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.FIELD_KEYSET }}{{ end }}"
}

template {
  destination          = "/run/vault/AUDIT_KEY"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.AUDIT_KEY }}{{ end }}"
}

template {
  destination          = "/run/vault/MFA_KEYS"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.MFA_KEYS }}{{ end }}"
}

template {
  destination          = "/run/vault/PRIVACY_KEYS"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.PRIVACY_KEYS }}{{ end }}"
}

template {
  destination          = "/run/vault/PRIVACY_SECRET"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.PRIVACY_SECRET }}{{ end }}"
}

template {
  destination          = "/run/vault/METRICS_TOKEN"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.METRICS_TOKEN }}{{ end }}"
}

template {
  destination          = "/run/vault/SMTP_URL"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.SMTP_URL }}{{ end }}"
}

template {
  destination          = "/run/vault/INCIDENT_WEBHOOK_URL"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.INCIDENT_WEBHOOK_URL }}{{ end }}"
}

template {
  destination          = "/run/vault/INCIDENT_WEBHOOK_SECRET"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.INCIDENT_WEBHOOK_SECRET }}{{ end }}"
}

# The job that changes the tables has another role of the database. Its other keys are the server's.

template {
  destination          = "/run/vault/migration/DATABASE_URL"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/migration\" }}{{ .Data.data.DATABASE_URL }}{{ end }}"
}

template {
  destination          = "/run/vault/migration/SIGNING_KEY"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.SIGNING_KEY }}{{ end }}"
}

template {
  destination          = "/run/vault/migration/SESSION_SECRET"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.SESSION_SECRET }}{{ end }}"
}

template {
  destination          = "/run/vault/migration/FIELD_KEYSET"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.FIELD_KEYSET }}{{ end }}"
}

template {
  destination          = "/run/vault/migration/AUDIT_KEY"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.AUDIT_KEY }}{{ end }}"
}

template {
  destination          = "/run/vault/migration/MFA_KEYS"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.MFA_KEYS }}{{ end }}"
}

template {
  destination          = "/run/vault/migration/PRIVACY_KEYS"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.PRIVACY_KEYS }}{{ end }}"
}

template {
  destination          = "/run/vault/migration/PRIVACY_SECRET"
  perms                = "0400"
  error_on_missing_key = true
  contents             = "{{ with secret \"parapet/data/server\" }}{{ .Data.data.PRIVACY_SECRET }}{{ end }}"
}
