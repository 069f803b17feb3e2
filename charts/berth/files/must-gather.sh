#!/bin/sh
# Collects what somebody needs who is to find out what is wrong with Berth on a cluster: its objects, logs, Events,
# Leases, rights and policies, in one archive. Reads only, by kubectl alone, with the rights of whoever runs it; what may not be read is left
# out and named in errors.txt.
#
# Never in it: Secrets, and what users put into cloud-init (inline, sealed, or in the annotations in which kubectl and
# other tools keep what they applied).
# Passwords in URLs, and what follows their question mark, are cut out. Names, labels and addresses are in it: look
# before you send it.
set -u

usage() {
    cat <<'USAGE'
usage: must-gather.sh [-n NAMESPACE] [-o FILE] [-t LINES]
  -n NAMESPACE  where Berth is installed (where its Deployment, DaemonSet and Pods are)
  -o FILE       the archive to write (berth-must-gather-TIME.tar.gz)
  -t LINES      of each log, from its end (20000)
Environment: KUBECTL (kubectl), and what kubectl itself looks at, such as KUBECONFIG.
Exit code: 0 the archive is written; 1 it is not, or Berth is not where it was looked for; 2 wrong usage.
USAGE
}

namespace=
output=
lines=20000
while getopts n:o:t:h option; do
    case $option in
    n) namespace=$OPTARG ;;
    o) output=$OPTARG ;;
    t) lines=$OPTARG ;;
    h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
if [ $# -gt 0 ]; then
    usage >&2
    exit 2
fi

: "${KUBECTL:=kubectl}"
name=berth-must-gather-$(date -u +%Y%m%dT%H%M%SZ)
: "${output:=$name.tar.gz}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
folder=$work/$name
umask 077
mkdir "$folder" || exit 1
errors=$folder/errors.txt
: >"$errors"

# JSON has each value on a line of its own, and line breaks in values as \n: so a line is enough to find and to cut. A
# value may itself be a manifest, with its quotes escaped, in the annotation of whatever tool applied it. kubectl writes
# & as \u0026, and once more escaped where it is in such a manifest.
redact() {
    sed -E \
        -e 's/"(userData|sealedUserData)": *".*"/"\1": "(redacted)"/' \
        -e 's/^( *"[^"\\]*(last-applied|\/original)[^"\\]*": *)".*"/\1"(redacted)"/' \
        -e 's/^( *"[^"\\]*": *)".*[uU]serData["\\]*:.*"/\1"(redacted)"/' \
        -e 's/([A-Za-z][A-Za-z0-9+.-]*:\/\/)(\\+u[0-9A-Fa-f]{4}|[^"\\ /])*@/\1(redacted)@/g' \
        -e 's/(:\/\/(\\+u[0-9A-Fa-f]{4}|[^"\\ ?])*\?)(\\+u[0-9A-Fa-f]{4}|[^"\\ ])*/\1(redacted)/g'
}

# gather FILE COMMAND...: what the command says goes, redacted, to the file; that it failed goes to errors.txt.
gather() {
    file=$folder/$1
    shift
    mkdir -p "$(dirname "$file")"
    if ! "$@" >"$work/said" 2>"$work/complaint"; then
        { echo "$*"; redact <"$work/complaint"; } >>"$errors"
    fi
    if [ -s "$work/said" ]; then
        redact <"$work/said" >"$file"
    fi
}

ask() {
    "$KUBECTL" --request-timeout=60s "$@"
}

if ! ask version -o json >"$work/said" 2>"$work/complaint"; then
    echo "the API server cannot be reached:" >&2
    redact <"$work/complaint" >&2
    exit 1
fi
cp "$work/said" "$folder/version.json"

# find_berth WHERE...: each namespace there in which something of Berth's runs, or should, goes to the file places.
find_berth() {
    template='{{range .items}}{{.metadata.namespace}}{{"\n"}}{{end}}'
    ask get deployments,daemonsets,pods "$@" -l "app.kubernetes.io/name=berth,app.kubernetes.io/component!=crds" \
        -o "go-template=$template" >"$work/said" 2>"$work/complaint"
    code=$?
    sort -u "$work/said" >"$work/places"
    return $code
}

missing=
if [ -z "$namespace" ]; then
    if ! find_berth --all-namespaces; then
        { echo "looking for Berth in all namespaces"; redact <"$work/complaint"; } >>"$errors"
    fi
    if [ "$(wc -l <"$work/places")" -gt 1 ]; then
        echo "something of Berth's is in several namespaces; say which with -n NAMESPACE:" >&2
        cat "$work/places" >&2
        exit 1
    fi
    namespace=$(cat "$work/places")
    : "${namespace:=berth-system}"
fi
if find_berth -n "$namespace" && [ ! -s "$work/places" ]; then
    missing="namespace $namespace has no Deployment, DaemonSet or Pod of Berth's: no logs are in the archive"
fi

for kind in hypervisors storagepools virtualnetworks virtualmachineclasses clustervirtualmachineimages \
    virtualmachineimages virtualmachines; do
    gather "objects/$kind.json" ask get "$kind.berth.dev" --all-namespaces -o json
    gather "objects/$kind.txt" ask get "$kind.berth.dev" --all-namespaces -o wide
done
gather events/virtualmachines.txt ask get events --all-namespaces \
    --field-selector involvedObject.kind=VirtualMachine --sort-by=.metadata.creationTimestamp -o wide
gather "events/$namespace.txt" ask get events -n "$namespace" --sort-by=.metadata.creationTimestamp -o wide
gather nodes.txt ask describe nodes
gather crds.txt ask get customresourcedefinitions -o wide
gather policies.txt ask get validatingadmissionpolicies,validatingadmissionpolicybindings -o wide
gather mutating-policies.txt ask get mutatingadmissionpolicies,mutatingadmissionpolicybindings -o wide
labelled() {
    ask get "$@" -l app.kubernetes.io/part-of=berth -o json
}
gather berth/policies.json labelled validatingadmissionpolicies,validatingadmissionpolicybindings
gather berth/mutating-policies.json labelled mutatingadmissionpolicies,mutatingadmissionpolicybindings
gather berth/cluster-rights.json labelled clusterroles,clusterrolebindings
gather berth/rights.json labelled roles,rolebindings -n "$namespace"
gather berth/priority-classes.json labelled priorityclasses
gather berth/limits.json ask get limitranges,resourcequotas -n "$namespace" -o json
gather berth/scheduler.json ask get configmap berth-scheduler -n "$namespace" --ignore-not-found -o json
gather leases.json ask get leases.coordination.k8s.io -n "$namespace" -o json
gather berth/workloads.txt ask get deployments,daemonsets,poddisruptionbudgets,jobs -n "$namespace" -o wide
gather berth/workloads-described.txt ask describe deployments,daemonsets -n "$namespace"
gather berth/pods.txt ask get pods -n "$namespace" -o wide
gather berth/pods-described.txt ask describe pods -n "$namespace"

# A failing command names itself; a Pod without a previous container is no error.
each='{{$pod}} {{.name}}{{"\n"}}{{end}}'
template='{{range .items}}{{$pod := .metadata.name}}'
template="$template{{range .spec.initContainers}}$each{{range .spec.containers}}$each{{end}}"
ask get pods -n "$namespace" -o "go-template=$template" \
    >"$work/containers" 2>>"$errors"
while read -r pod container; do
    gather "logs/$pod/$container.log" ask logs -n "$namespace" "$pod" -c "$container" --tail="$lines" </dev/null
    if ask logs -n "$namespace" "$pod" -c "$container" --previous --tail="$lines" \
        >"$work/previous" 2>/dev/null </dev/null; then
        redact <"$work/previous" >"$folder/logs/$pod/$container.previous.log"
    fi
done <"$work/containers"

tar -C "$work" -cf - "$name" | gzip -c >"$output" || exit 1
if [ -s "$errors" ]; then
    echo "not all could be read; see errors.txt in the archive" >&2
fi
echo "$output"
if [ -n "$missing" ]; then
    echo "$missing" >&2
    exit 1
fi
