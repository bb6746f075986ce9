#!/usr/bin/env bash
# Makes what compose.yaml mounts: a private CA, a certificate for each service, passwords, and the users of
# PostgreSQL and Redis. Prints nothing secret; writes to the folder `secrets` beside it, or to $1.
#
#   prepare.sh [FOLDER] [NAME OF THE SERVER, app.example.com]
#
# For a public name replace secrets/nginx/* by a certificate of a public CA. Run it once: it never overwrites.
set -Eeuo pipefail
umask 077

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:-$here/secrets}
name=${2:-app.example.com}
[[ $name =~ ^[a-z0-9.-]+$ ]] || { echo "not a host name: $name" >&2; exit 64; }
[ ! -e "$folder/ca.crt" ] || { echo "$folder exists: remove it to make everything anew" >&2; exit 1; }
mkdir -p "$folder/nginx"
cd "$folder"

new_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null ||
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }
password() { openssl rand -hex 32; }

new_key ca.key
openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj '/CN=Parapet private CA' \
  -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign -out ca.crt

# certificate NAME FILE...: one for the names, and for this machine.
certificate() {
  local host=$1 file=$2
  new_key "$file.key"
  openssl req -new -key "$file.key" -subj "/CN=$host" -out request.csr
  openssl x509 -req -in request.csr -CA ca.crt -CAkey ca.key -CAcreateserial -sha256 -days 398 -out "$file.crt" \
    -extfile <(printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n' "$host") 2>/dev/null
  rm request.csr
}
for service in postgres redis vault; do certificate "$service" "$service"; done
certificate "$name" nginx/server
cat nginx/server.crt ca.crt >nginx/fullchain.pem
mv nginx/server.key nginx/privkey.pem
rm nginx/server.crt

password >postgres-password
: >passwords.sql
for role in migrator app auditor backup drill; do
  secret=$(password)
  printf "ALTER ROLE parapet_%s PASSWORD '%s';\n" "$role" "$secret" >>passwords.sql
  printf '*:*:*:parapet_%s:%s\n' "$role" "$secret" >>pgpass
  printf '%s' "$secret" >"password-$role"
done
for user in parapet parapet_backup; do
  secret=$(password)
  printf '%s' "$secret" >"password-redis-$user"
  digest=$(printf '%s' "$secret" | openssl dgst -sha256 -r | cut -d' ' -f1)
  sed -n "s/^\(user $user on \)#SHA256_OF_THE_PASSWORD/\1#$digest/p" "$here/redis/users.acl.example" >>redis-users.acl
done
echo 'user default off' >>redis-users.acl

# Filled in after Vault has been initialised.
: >vault-role-id
: >vault-secret-id

# Each file belongs to the user of its container; root can give it away.
if [ "$(id -u)" -eq 0 ]; then
  chown 999:999 postgres-password postgres.key redis.key redis-users.acl passwords.sql
  chown 100:1000 vault.key
  chown -R 101:101 nginx
  chown 1000:1000 vault-role-id vault-secret-id
fi
chmod 0444 ca.crt postgres.crt redis.crt vault.crt
echo "made $folder for $name. Keep ca.key elsewhere." >&2
