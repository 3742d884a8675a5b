#!/bin/sh
# Checks a licence with openssl and jq alone, and prints a line for each check: ok, or what is wrong.
#
#   check-licence.sh LICENCE ROOT.pem REVOCATIONS.pem
#
# canonical   the document is its own canonical text: members sorted, no white space
# chain       the root has signed the provider's certificate, and both were valid when the licence last changed
# revocation  the root's list, signed by it, does not name the certificate
# signature   the signature is that of the certificate's key over the text without it
set -eu
licence=$1
root=$2
revocations=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

member() { jq -re "$1" "$licence"; }
# Runs a command; the name of the check and whether it went well.
check() {
    name=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        echo "$name: ok"
    else
        echo "$name: $(tr '\n' ' ' <"$work/said")"
    fi
}

# jq sorts by code points, writes no white space, and escapes what the format escapes; only DEL it escapes besides, which no licence holds.
jq -cjS . "$licence" >"$work/whole"
jq -cjS 'del(.signature)' "$licence" >"$work/text"
member .signature.certificate | base64 -d >"$work/certificate.der"
member .signature.value | base64 -d >"$work/value"
openssl x509 -inform DER -in "$work/certificate.der" -out "$work/certificate.pem"
openssl x509 -in "$work/certificate.pem" -noout -pubkey >"$work/key.pem"
changed=$(date -u -d "$(member '.updated // .issued')" +%s)

trusted="-CAfile $root -no-CApath -no-CAstore -partial_chain -check_ss_sig"

check canonical cmp "$licence" "$work/whole"
# shellcheck disable=SC2086  # words
check chain openssl verify $trusted -attime "$changed" "$work/certificate.pem"
# The list's own dates are those of the day on which it is fetched.
# shellcheck disable=SC2086  # words
check revocation openssl verify $trusted -no_check_time -crl_check -CRLfile "$revocations" "$work/certificate.pem"

case $(member .signature.algorithm) in
    http://www.w3.org/2001/04/xmldsig-more#rsa-sha256) cp "$work/value" "$work/value.der" ;;
    http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256)
        # r and s, 32 bytes each, where openssl wants a structure.
        [ "$(wc -c <"$work/value")" = 64 ] || { echo "signature: not 64 bytes"; exit 0; }
        digits=$(od -An -v -tx1 "$work/value" | tr -d ' \n')
        rest=${digits#????????????????????????????????????????????????????????????????}
        printf 'asn1=SEQUENCE:value\n[value]\nr=INTEGER:0x%s\ns=INTEGER:0x%s\n' "${digits%"$rest"}" "$rest" >"$work/value.cnf"
        openssl asn1parse -genconf "$work/value.cnf" -noout -out "$work/value.der"
        ;;
    *) echo "signature: of an unknown algorithm"; exit 0 ;;
esac
check signature openssl dgst -sha256 -verify "$work/key.pem" -signature "$work/value.der" "$work/text"
