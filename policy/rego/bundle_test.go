package rego

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestAddFolder(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{"policy/other/deny.rego": {Data: []byte("package other")}}
	for name, text := range map[string]string{
		"deny.rego": "package main", "deny_test.rego": "package main", "lib/x.rego": "package lib", "lib/data.yaml": "a: 1", "README.md": "no",
		"data.json": "{}", "other.json": "{}",
	} {
		files["policy/production/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	var b Bundle
	if err := b.addFolder(files, "policy/production"); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, data := range b.Files {
		got[name] = string(data)
	}
	want := map[string]string{"deny.rego": "package main", "lib/x.rego": "package lib", "lib/data.yaml": "a: 1", "data.json": "{}"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"broken/x.rego":   {Data: []byte("package main\n\ndeny contains x if { http.send({}, x) }")},
		"only/data.yaml":  {Data: []byte("a: 1")},
		"large/x.rego":    {Data: make([]byte, MaxBytes+1)},
		"several/x.rego":  {Data: make([]byte, MaxBytes)},
		"several/y.rego":  {Data: []byte("x")},
		"no-rule/x.rego":  {Data: []byte("package main\nallow := true")},
		"reserved/x.rego": {Data: []byte("package lockage\ndeny contains 1")},
	}
	for folder, want := range map[string]string{
		"absent": "no such folder", "broken/x.rego": "it is a file", "broken": "broken/x.rego:3:22: rego_type_error: undefined function http.send", "large": "more than",
		"several": "more than", "only": "they would allow everything", "no-rule": "they would allow everything", "reserved": "name it otherwise",
	} {
		if _, err := Load(files, folder); !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), folder+": ") {
			t.Errorf("%s: got %v, want %s", folder, err, want)
		}
	}
}
