#!/bin/sh
# Makes the certificates of the tests anew, all of them: `sh test/certificates/make.sh`. They are good for a hundred
# years, but for the two that are not good at all. The keys are worth nothing; those of the CAs are thrown away.
set -eu
cd "$(dirname "$0")"
rm -f ./*.pem ./*.key
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

# ca NAME
ca() {
  key "$work/$1.key"
  openssl req -x509 -new -key "$work/$1.key" -out "$1.pem" -days 36500 -subj "/CN=$1" -addext "basicConstraints=critical,CA:TRUE"
}

# signed NAME CA SUBJECT_ALT_NAMES [FROM UNTIL]
signed() {
  key "$1.key"
  mkdir -p "$work/new"
  : > "$work/index"
  cat > "$work/ca.cnf" <<CNF
[ca]
default_ca = own
[own]
database = $work/index
new_certs_dir = $work/new
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[leaf]
basicConstraints = critical,CA:FALSE
subjectAltName = $3
[req]
distinguished_name = any
CNF
  openssl req -new -key "$1.key" -subj "/CN=$1" -config "$work/ca.cnf" -out "$work/request"
  openssl ca -batch -notext -config "$work/ca.cnf" -extensions leaf -cert "$2.pem" -keyfile "$work/$2.key" \
    -in "$work/request" -out "$1.pem" -startdate "${4:-20250101000000Z}" -enddate "${5:-21250101000000Z}" 2>/dev/null
}

ca ca
ca other_ca
here="DNS:localhost,IP:127.0.0.1,IP:::1"
signed master ca "$here"
signed relay ca "$here"
signed elsewhere ca "DNS:elsewhere.example"
signed expired ca "$here" 20200101000000Z 20210101000000Z
signed early ca "$here" 21000101000000Z 21250101000000Z
signed stranger other_ca "$here"
signed slave ca "DNS:slave.example"
signed foreign_slave other_ca "DNS:slave.example"
signed expired_slave ca "DNS:slave.example" 20200101000000Z 20210101000000Z
