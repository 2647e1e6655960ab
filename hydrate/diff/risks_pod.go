package diff

import (
	"cmp"
	"slices"
	"strconv"
)

// privilegeRisks names new power of Pods over their node, in templates anywhere.
func privilegeRisks(c *comparison) []Risk {
	had := map[string]bool{}
	for _, power := range powers(c.before) {
		had[power] = true
	}
	gained := slices.DeleteFunc(powers(c.after), func(power string) bool { return had[power] })
	slices.Sort(gained)
	return risk(RiskPrivilege, Danger, "gains power over the node", slices.Compact(gained))
}

// powers lists the powers of the Pod specs in a value over their node.
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
	found := slices.Concat(trueOf(spec, "hostNetwork", "hostPID", "hostIPC"), runsAsRoot(spec))
	for _, v := range mapsIn(spec["volumes"]) {
		if host, ok := v["hostPath"].(map[string]any); ok {
			found = append(found, "hostPath "+text(host["path"]))
		}
	}
	for _, key := range []string{"initContainers", "containers", "ephemeralContainers"} {
		for i, c := range mapsIn(spec[key]) {
			name := cmp.Or(text(c["name"]), strconv.Itoa(i))
			for _, power := range containerPowers(c) {
				found = append(found, name+": "+power)
			}
		}
	}
	return found
}

func containerPowers(container map[string]any) []string {
	context, _ := container["securityContext"].(map[string]any)
	found := slices.Concat(trueOf(context, "privileged", "allowPrivilegeEscalation"), runsAsRoot(container))
	for _, capability := range textsIn(get(context, "capabilities", "add")) {
		found = append(found, "capability "+capability)
	}
	for _, port := range mapsIn(container["ports"]) {
		if n, ok := port["hostPort"].(int64); ok && n != 0 {
			found = append(found, "hostPort "+strconv.FormatInt(n, 10))
		}
	}
	return found
}

func trueOf(m map[string]any, keys ...string) []string {
	return slices.DeleteFunc(keys, func(key string) bool { return m[key] != true })
}

func runsAsRoot(value map[string]any) []string {
	if get(value, "securityContext", "runAsUser") == int64(0) {
		return []string{"runAsUser 0"}
	}
	return nil
}
