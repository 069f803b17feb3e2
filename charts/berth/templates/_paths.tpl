{{/*
What values say about directories and libvirt that a schema cannot check: what the API server would refuse without naming the
value, and what would only be noticed on a node.
*/}}
{{- define "berth.paths.check" -}}
{{- $agent := .Values.agent }}
{{- $libvirt := .Values.libvirt }}
{{- $managed := eq $libvirt.mode "managed" }}
{{- $named := list (dict "name" "agent.stateDir" "path" $agent.stateDir) }}
{{- range $number, $path := $agent.storageDirs }}
{{- $named = append $named (dict "name" (printf "agent.storageDirs[%d]" $number) "path" $path) }}
{{- end }}
{{- $shared := $named }}
{{- with $agent.imageFileDir }}{{ $named = append $named (dict "name" "agent.imageFileDir" "path" .) }}{{ end }}
{{- if ne (clean $libvirt.socketDir) "/run/libvirt" }}
{{- $named = append $named (dict "name" "libvirt.socketDir" "path" $libvirt.socketDir) }}
{{- end }}

{{- $taken := dict }}
{{- range list "/tmp" "/run/libvirt" "/run/netns" "/var/lib/cni" "/host/opt/cni/bin" }}
{{- $_ := set $taken . "the chart itself" }}
{{- end }}
{{- $mounts := $named }}
{{- range $number, $mount := $agent.extraVolumeMounts }}
{{- with $mount.mountPath }}{{ $mounts = append $mounts (dict "name" (printf "agent.extraVolumeMounts[%d]" $number) "path" .) }}{{ end }}
{{- end }}
{{- range $mounts }}
{{- $path := clean .path }}
{{- if hasKey $taken $path }}
{{- fail (printf "%s: %s is mounted for %s already; choose another directory" .name $path (get $taken $path)) }}
{{- end }}
{{- $_ := set $taken $path .name }}
{{- end }}

{{- if $managed }}
{{- if not $agent.privileged }}
{{- fail "agent.privileged: false is not to be had with libvirt.mode: managed, whose Pod has a privileged container and the node's process ids; use libvirt.mode: host" }}
{{- end }}
{{- if not (hasPrefix "qemu:///system" $libvirt.uri) }}
{{- fail (printf "libvirt.uri: with libvirt.mode: managed it begins with qemu:///system, not %s" $libvirt.uri) }}
{{- end }}
{{- $root := clean $libvirt.managed.rootDir }}
{{- $sockets := dict "name" "libvirt.socketDir" "path" $libvirt.socketDir }}
{{- range append $named $sockets }}
{{- $path := clean .path }}
{{- if or (hasPrefix (printf "%s/" $root) (printf "%s/" $path)) (hasPrefix (printf "%s/" $path) (printf "%s/" $root)) }}
{{- fail (printf "libvirt.managed.rootDir: %s and %s (%s) are one directory, or one is in the other; choose one of its own" $root $path .name) }}
{{- end }}
{{- end }}
{{- range $shared }}
{{- $shared := . }}
{{- $path := clean .path }}
{{- range list "/bin" "/dev" "/etc" "/lib" "/lib64" "/proc" "/run/libvirt" "/sbin" "/sys" "/tmp" "/usr" "/var/cache/libvirt" "/var/lib/libvirt" "/var/log/libvirt" }}
{{- if hasPrefix (printf "%s/" $path) (printf "%s/" .) }}
{{- fail (printf "%s: %s would hide %s of libvirt.mode: managed, which has the directory under the same name; choose one below" $shared.name $path .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
