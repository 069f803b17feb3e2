{{/*
libvirt.mode: managed. libvirtd and the guests' QEMU belong to the node, not to the Pod: were they the container's children,
the runtime would end them with its control group, and were their programs in its root, an upgrade would pull them away
from under the guests. So an init container lays the image's content out on the node, and a second container starts libvirtd
from there, in a control group and a mount namespace of its own (node-agent/berth_libvirt), and watches over it.
*/}}

{{- define "berth.libvirt.environment" -}}
env:
- name: BERTH_LIBVIRT_NODE_NAME
  valueFrom:
    fieldRef: {fieldPath: spec.nodeName}
- name: BERTH_LIBVIRT_ROOT_DIR
  value: {{ .Values.libvirt.managed.rootDir }}
- name: BERTH_LIBVIRT_SOCKET_DIR
  value: {{ .Values.libvirt.socketDir }}
- name: BERTH_LIBVIRT_SHARED
  value: {{ join ":" (prepend .Values.agent.storageDirs .Values.agent.stateDir) }}
{{- end }}

{{- define "berth.libvirt.layout" -}}
- name: libvirt-layout
  image: {{ include "berth.image" (dict "root" . "image" .Values.libvirt.managed.image) }}
  imagePullPolicy: {{ .Values.libvirt.managed.image.pullPolicy }}
  args: [lay-out]
  securityContext:
    runAsUser: 0
    readOnlyRootFilesystem: true
    allowPrivilegeEscalation: false
    capabilities: {drop: [ALL]}
  {{- include "berth.libvirt.environment" . | nindent 2 }}
  resources:
    {{- toYaml .Values.libvirt.managed.resources | nindent 4 }}
  volumeMounts:
  - {name: libvirt-root, mountPath: {{ .Values.libvirt.managed.rootDir }}}
{{- end }}

{{- define "berth.libvirt.container" -}}
- name: libvirtd
  image: {{ include "berth.image" (dict "root" . "image" .Values.libvirt.managed.image) }}
  imagePullPolicy: {{ .Values.libvirt.managed.image.pullPolicy }}
  args: [watch]
  securityContext:
    runAsUser: 0
    readOnlyRootFilesystem: true
    # What it starts has to leave its control group, mount, and run guests with the node's devices.
    privileged: true
  {{- include "berth.libvirt.environment" . | nindent 2 }}
  # For whoever calls virsh in the container.
  - name: LIBVIRT_DEFAULT_URI
    value: qemu:///system?socket={{ .Values.libvirt.socketDir }}/libvirt-sock
  readinessProbe:
    exec:
      # A link to the socket, there while it is the managed libvirtd that listens and not another one.
      command: [virsh, --quiet, --connect, "qemu:///system?socket={{ .Values.libvirt.managed.rootDir }}/serving", uri]
    periodSeconds: 5
    timeoutSeconds: 5
  resources:
    {{- toYaml .Values.libvirt.managed.resources | nindent 4 }}
  volumeMounts:
  - {name: libvirt, mountPath: {{ .Values.libvirt.socketDir }}}
  - {name: libvirt-root, mountPath: {{ .Values.libvirt.managed.rootDir }}}
  - {name: libvirt-devices, mountPath: /host/dev, mountPropagation: HostToContainer}
  - {name: libvirt-system, mountPath: /host/sys, mountPropagation: HostToContainer}
  # Where disks are has to have the same name for the agent and for libvirtd.
  - {name: state, mountPath: {{ .Values.agent.stateDir }}, mountPropagation: HostToContainer}
  {{- range $number, $path := .Values.agent.storageDirs }}
  - {name: storage-{{ $number }}, mountPath: {{ $path }}, mountPropagation: HostToContainer}
  {{- end }}
{{- end }}

{{- define "berth.libvirt.volumes" -}}
- name: libvirt-root
  hostPath: {path: {{ .Values.libvirt.managed.rootDir }}, type: DirectoryOrCreate}
- name: libvirt-devices
  hostPath: {path: /dev, type: Directory}
- name: libvirt-system
  hostPath: {path: /sys, type: Directory}
{{- end }}
