package diff

import (
	"slices"
	"strconv"
)

// privilegeRisks names what gives Pods power over their node and was not there before, in templates anywhere.
func privilegeRisks(p *pair) []Risk {
	had := map[string]bool{}
	for _, power := range powers(p.was) {
		had[power] = true
	}
	gained := slices.DeleteFunc(powers(p.now), func(power string) bool { return had[power] })
	if len(gained) == 0 {
		return nil
	}
	slices.Sort(gained)
	return []Risk{{RiskPrivilege, Danger, "gains power over the node", slices.Compact(gained)}}
}

// powers lists what the Pod specs in a value may do to their node.
func powers(value any) []string {
	var found []string
	switch value := value.(type) {
	case map[string]any:
		if _, pod := value["containers"].([]any); pod {
			found = podPowers(value)
		}
		for _, v := range value {
			found = append(found, powers(v)...)
		}
	case []any:
		for _, v := range value {
			found = append(found, powers(v)...)
		}
	}
	return found
}

func podPowers(spec map[string]any) []string {
	var found []string
	for _, key := range []string{"hostNetwork", "hostPID", "hostIPC"} {
		if spec[key] == true {
			found = append(found, key)
		}
	}
	volumes, _ := spec["volumes"].([]any)
	for _, v := range mapsIn(volumes) {
		if host, ok := v["hostPath"].(map[string]any); ok {
			found = append(found, "hostPath "+text(host["path"]))
		}
	}
	if context, ok := spec["securityContext"].(map[string]any); ok && context["runAsUser"] == int64(0) {
		found = append(found, "runAsUser 0")
	}
	for _, key := range []string{"initContainers", "containers", "ephemeralContainers"} {
		list, _ := spec[key].([]any)
		for i, c := range mapsIn(list) {
			name := text(c["name"])
			if name == "" {
				name = strconv.Itoa(i)
			}
			for _, power := range containerPowers(c) {
				found = append(found, name+": "+power)
			}
		}
	}
	return found
}

func containerPowers(container map[string]any) []string {
	context, _ := container["securityContext"].(map[string]any)
	var found []string
	for _, key := range []string{"privileged", "allowPrivilegeEscalation"} {
		if context[key] == true {
			found = append(found, key)
		}
	}
	if context["runAsUser"] == int64(0) {
		found = append(found, "runAsUser 0")
	}
	for _, capability := range textsIn(get(context, "capabilities", "add")) {
		found = append(found, "capability "+capability)
	}
	ports, _ := container["ports"].([]any)
	for _, port := range mapsIn(ports) {
		if n, ok := port["hostPort"].(int64); ok && n != 0 {
			found = append(found, "hostPort "+strconv.FormatInt(n, 10))
		}
	}
	return found
}
