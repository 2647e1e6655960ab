package kustomize

import (
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
)

// plugins checks generators, transformers or validators: configurations of built-in plugins pass, inline or in files.
func (k *kustomization) plugins(field string, entries []string) {
	factory := resmap.NewFactory(provider.NewDefaultDepProvider().GetResourceFactory())
	for _, entry := range entries {
		configs, err := factory.NewResMapFromBytes([]byte(entry)) // as kustomize distinguishes inline from paths
		if err != nil {
			data, ok := k.pluginFile(field, entry)
			if !ok {
				continue
			}
			if configs, err = factory.NewResMapFromBytes(data); err != nil {
				k.refuse(field, entry, "%s: %s: %w", field, entry, err)
				continue
			}
		}
		for _, config := range configs.Resources() {
			k.plugin(field, entry, config)
		}
	}
}

func (k *kustomization) pluginFile(field, entry string) ([]byte, bool) {
	before := len(k.problems)
	if isRemote(entry) {
		k.refuse(field, entry, "%s would be fetched from the network: commit them", field)
	} else {
		k.readable(field, entry)
	}
	if len(k.problems) > before {
		return nil, false
	}
	p := k.tree.lookup(path.Join(k.dir, entry))
	if p.err == nil && p.folder {
		k.refuse(field, entry, "%s: %s is a folder, and what it runs is not known beforehand: name files", field, entry)
		return nil, false
	}
	var data []byte
	if p.err == nil {
		data, p.err = k.tree.content(p.real)
	}
	if p.err != nil {
		k.refuse(field, entry, "%s: %s: %w", field, entry, p.err)
	}
	return data, p.err == nil
}

func (k *kustomization) plugin(field, entry string, config *resource.Resource) {
	gvk := config.GetGvk()
	if gvk.Group != "" || gvk.Version != konfig.BuiltinPluginApiVersion || gvk.Kind == "HelmChartInflationGenerator" {
		k.refuse(field, entry, "%s: %s of %s would run a program: commit what it makes", field, gvk.Kind, gvk.ApiVersion())
		return
	}
	content, err := config.Map()
	if err != nil {
		k.refuse(field, entry, "%s: %s: %w", field, gvk.Kind, err)
		return
	}
	if name := remoteFileIn(content, ""); name != "" {
		k.refuse(field, entry, "%s: %s would be fetched from the network: commit the file", field, name)
	}
}

// remoteFileIn finds a URL where built-in plugins have names of files.
func remoteFileIn(value any, key string) string {
	switch value := value.(type) {
	case map[string]any:
		for name, child := range value {
			if found := remoteFileIn(child, name); found != "" {
				return found
			}
		}
	case []any:
		for _, child := range value {
			if found := remoteFileIn(child, key); found != "" {
				return found
			}
		}
	case string:
		names := func(name string) bool { return strings.EqualFold(name, key) }
		_, file, _ := strings.Cut(value, "=")
		if slices.ContainsFunc([]string{"path", "paths", "files", "env", "envs"}, names) && (isRemoteFile(value) || isRemoteFile(file)) {
			return key
		}
	}
	return ""
}
