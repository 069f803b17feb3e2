{{/*
libvirt.mode: managed, experimental. libvirtd and the guests' QEMU belong to the node, not to the Pod: were they the
container's children, the runtime would end them with its cgroup, and were their programs in its root, an upgrade would
pull them away from under the guests. So an init container lays the image's content out on the node, and a second
container has the node's init run it from there, as a service whose stop ends libvirtd alone (KillMode=process). It takes
nodes whose init is systemd.
*/}}

{{- define "berth.libvirt.root" -}}
{{ .Values.libvirt.managed.rootDir }}/{{ .Values.libvirt.managed.image | sha256sum | trunc 16 }}
{{- end }}

{{- define "berth.libvirt.layout" -}}
- name: libvirt-layout
  image: {{ required "libvirt.managed.image: name an image with libvirtd, virtlogd and QEMU in it" .Values.libvirt.managed.image }}
  imagePullPolicy: IfNotPresent
  securityContext:
    runAsUser: 0
    readOnlyRootFilesystem: true
    allowPrivilegeEscalation: false
    # What keeping owners, modes and devices of a copied tree takes.
    capabilities: {drop: [ALL], add: [CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP]}
  env:
  - {name: ROOT, value: {{ include "berth.libvirt.root" . }}}
  command:
  - /bin/sh
  - -euc
  - |
    # One tree for an image, complete or not there; what runs from an older one keeps it.
    [ -d "$ROOT" ] && exit 0
    rm -rf "$ROOT.part"
    mkdir -p "$ROOT.part"
    cp -a --one-file-system /bin /etc /lib* /sbin /usr /var "$ROOT.part/"
    mkdir -p "$ROOT.part/dev" "$ROOT.part/proc" "$ROOT.part/sys" "$ROOT.part/run" "$ROOT.part/tmp"
    mv "$ROOT.part" "$ROOT"
  resources:
    {{- toYaml .Values.libvirt.managed.resources | nindent 4 }}
  volumeMounts:
  - {name: libvirt-root, mountPath: {{ .Values.libvirt.managed.rootDir }}}
{{- end }}

{{- define "berth.libvirt.container" -}}
- name: libvirtd
  image: {{ .Values.libvirt.managed.image }}
  imagePullPolicy: IfNotPresent
  securityContext:
    runAsUser: 0
    readOnlyRootFilesystem: true
    # It enters the node's namespaces, which takes all capabilities over them.
    privileged: true
  env:
  - {name: ROOT, value: {{ include "berth.libvirt.root" . }}}
  - {name: STATE, value: {{ join " " (prepend .Values.agent.storageDirs .Values.agent.stateDir) | quote }}}
  command:
  - /bin/sh
  - -euc
  - |
    on_node() { nsenter --target 1 --mount --uts --ipc --net --pid --cgroup -- "$@"; }
    runs_from_here() {
      on_node systemctl is-active --quiet "$1" &&
        [ "$(on_node systemctl show --property RootDirectory --value "$1")" = "$ROOT" ]
    }
    ensure() {
      runs_from_here "$1" && return 0
      on_node systemctl stop "$1" 2>/dev/null || :
      on_node systemctl reset-failed "$1" 2>/dev/null || :
      on_node systemd-run --unit="$1" --slice=machine.slice \
        --property=RootDirectory="$ROOT" --property=BindPaths="/dev /proc /sys /run /var/lib/libvirt $STATE" \
        --property=KillMode=process --property=Delegate=yes --property=Restart=always "$2"
    }
    on_node mkdir -p /var/lib/libvirt
    ensure berth-virtlogd.service /usr/sbin/virtlogd
    ensure berth-libvirtd.service /usr/sbin/libvirtd
    trap 'exit 0' TERM
    while runs_from_here berth-libvirtd.service && runs_from_here berth-virtlogd.service; do
      sleep 5 &
      wait $!
    done
    echo "libvirtd or virtlogd of this node no longer runs from $ROOT" >&2
    exit 1
  readinessProbe:
    exec: {command: [/bin/sh, -c, test -S {{ .Values.libvirt.socketDir }}/libvirt-sock]}
    periodSeconds: 10
  resources:
    {{- toYaml .Values.libvirt.managed.resources | nindent 4 }}
  volumeMounts:
  - {name: libvirt, mountPath: {{ .Values.libvirt.socketDir }}}
{{- end }}
