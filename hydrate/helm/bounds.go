package helm

import (
	"bytes"
	"fmt"
	"path"
	"strings"
	"sync/atomic"

	yaml11 "go.yaml.in/yaml/v2"
	"helm.sh/helm/v3/pkg/chart/loader"
)

// maxParsedBytes bounds the YAML that Helm parses when it loads a chart and all below it: default values, metadata and locks. The
// memory that this takes is some eighty times as much. The largest of 150 charts of public repositories has 0.6 MB.
const maxParsedBytes = 4 << 20

// weight is what a chart and all below it take, in bytes. Charts are loaded in the process that holds keys, too, and before their
// authors are asked. The zero weight is ready; it is safe for concurrent use.
type weight struct{ files, parsed atomic.Int64 }

// add adds the files of a chart. Those of the archives in charts/ count as what they unpack to, and aliases in YAML as what Helm
// expands them to: some kilobytes of either may be gigabytes in memory.
func (w *weight) add(files []*loader.BufferedFile, depth int) error {
	if depth > maxPathDepth {
		return fmt.Errorf("charts in archives nested more than %d deep", maxPathDepth)
	}
	for _, f := range files {
		if w.files.Add(int64(len(f.Data))) > maxChartBytes {
			return fmt.Errorf("%s: the chart and its dependencies have more than %d bytes, archives unpacked", f.Name, maxChartBytes)
		}
		name := insideSubcharts(f.Name)
		switch {
		case name == "Chart.yaml", name == "Chart.lock", name == "values.yaml", name == "requirements.yaml", name == "requirements.lock":
			if w.parsed.Add(expanded(f.Data)) > maxParsedBytes {
				return fmt.Errorf("%s: default values and metadata of the chart and its dependencies have more than %d bytes, aliases expanded",
					f.Name, maxParsedBytes)
			}
		case path.Dir(name) == "charts" && path.Ext(name) == ".tgz":
			unpacked, err := loader.LoadArchiveFiles(bytes.NewReader(f.Data))
			if err != nil {
				continue // Helm names the chart.
			}
			if err := w.add(unpacked, depth+1); err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
		}
	}
	return nil
}

// insideSubcharts returns a file's name from the folder of the innermost chart on that holds it.
func insideSubcharts(name string) string {
	for {
		rest, below := strings.CutPrefix(name, "charts/")
		_, inside, folder := strings.Cut(rest, "/")
		if !below || !folder {
			return name
		}
		name = inside
	}
}

// expanded returns the bytes that YAML has when its aliases are written out.
func expanded(data []byte) int64 {
	if !bytes.Contains(data, []byte("&")) || !bytes.Contains(data, []byte("*")) {
		return int64(len(data))
	}
	var value any // The parser bounds the number of values, and shares texts.
	if err := yaml11.Unmarshal(data, &value); err != nil {
		return int64(len(data)) // Helm says why.
	}
	return max(int64(len(data)), length(value))
}

func length(value any) int64 {
	n := int64(1)
	switch value := value.(type) {
	case map[any]any:
		for key, item := range value {
			n += length(key) + length(item)
		}
	case []any:
		for _, item := range value {
			n += length(item)
		}
	case string:
		n += int64(len(value))
	}
	return n
}
