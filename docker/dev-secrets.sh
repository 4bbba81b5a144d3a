#!/usr/bin/env bash
# Makes the certificates and keys of a development set-up, once, in the folder given (docker/dev otherwise). Nothing of
# it is fit for production: all private keys lie side by side.
set -euo pipefail
umask 077
out=${1:-$(dirname "$0")/dev}
if [[ -e $out/env ]]; then
    echo "$out has them already"
    exit 0
fi
mkdir -p "$out"
cd "$out"

# A CA of its own, and the certificate that KES shows. KES wants a subject alternative name.
openssl req -x509 -newkey ed25519 -nodes -keyout ca.key -out ca.crt -days 365 -subj '/CN=s3cloak development CA' 2>/dev/null
openssl req -newkey ed25519 -nodes -keyout kes.key -out kes.csr -subj '/CN=kes' 2>/dev/null
openssl x509 -req -in kes.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out kes.crt -days 365 \
    -extfile <(printf 'subjectAltName=DNS:kes,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n') 2>/dev/null
rm -f kes.csr ca.srl

# The proxy's API key: a zero byte and the 32 bytes of an Ed25519 key; KES knows it by the SHA-256 of the public one.
openssl genpkey -algorithm ed25519 -outform DER -out api.der
api_key="kes:v1:$({ printf '\0'; tail -c 32 api.der; } | base64 -w 0)"
identity=$(openssl pkey -inform DER -in api.der -pubout -outform DER | openssl dgst -sha256 -r | cut -d ' ' -f 1)
rm -f api.der

secret() { openssl rand -hex 20; }
cat >env <<END
KES_API_KEY=$api_key
S3CLOAK_IDENTITY=$identity
STORAGE_ACCESS_KEY=storage
STORAGE_SECRET_KEY=$(secret)
CLIENT_ACCESS_KEY=development
CLIENT_SECRET_KEY=$(secret)
END
# The containers run as other users.
chmod 644 ca.crt kes.crt kes.key
echo "made $out"
