package chartrepo

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// FuzzFind: what is found in a part of an index is what is found in all of it.
func FuzzFind(f *testing.F) {
	for _, seed := range []string{
		"apiVersion: v1\nentries:\n  a:\n  - version: 1.0.0\n    urls:\n    - a.tgz\n  web:\n  - version: 1.0.0\n    digest: abc\n    urls: [x]\n  - version: 2.0.0\ngenerated: x\n",
		"entries:\n  x-web:\n  - version: 1\n  web:\n  - version: 2\n---\nentries: {}\n",
		"entries:\n  a:\n  - description: |\n      web:\n      - version: 3\n    version: 1\n", "entries:\nweb:\n- version: 1\n", "entries: {web: [{version: 1}]}", `{"entries":{"web":[{"version":"1"}]}}`,
		"entries:\n  a:\n  - b: \"\n  web:\n  - version: 1\"\n  web:\n  - version: 2\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, index []byte) {
		got, err := find(index, "web")
		if err != nil || len(got) == 0 {
			return
		}
		var whole struct {
			Entries map[string][]entry `json:"entries"`
		}
		// Text over several lines can look like a section; an index that does that fools itself.
		if strings.ContainsAny(string(index), "\"'{}[]&*!|>#%@`?,") || yaml.Unmarshal(index, &whole) != nil {
			return
		}
		if len(got) != len(whole.Entries["web"]) || got[0].Version != whole.Entries["web"][0].Version {
			t.Errorf("%+v; in all of it: %+v", got, whole.Entries["web"])
		}
	})
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if inspect(data, "web", "1.2.3") == nil && len(data) < 20 {
			t.Errorf("%q is a chart", data)
		}
	})
}
