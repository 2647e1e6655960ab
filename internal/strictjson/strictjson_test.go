package strictjson

import (
	"errors"
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"buildDefinition":{"buildType":"x"}}`:                         "",
		`{"buildDefinition":{"buildType":"x","buildType":"y"}}`:         "duplicate field",
		`{"buildDefinition":{"buildType":"x","BuildType":"y"}}`:         "in two cases",
		`{"buildDefinition":{"buildType":"x"},"a":[{"b":[],"B":null}]}`: "in two cases",
		`{"a":{"subject":1,"ſubject":2}}`:                               "in two cases", // a long s
		`{"a":{"key":1,"\u212aey":2}}`:                                  "in two cases", // the sign of kelvin
		`{"BuildDefinition":{"buildType":"x"}}`:                         "build type is empty",
	} {
		var w struct {
			BuildDefinition struct {
				BuildType string `json:"buildType"`
			} `json:"buildDefinition"`
		}
		err := Decode([]byte(text), &w)
		if err == nil && w.BuildDefinition.BuildType != "x" {
			err = errors.New("build type is empty")
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
