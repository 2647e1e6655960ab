package engine

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

var request = Request{Clock: time.Date(2026, 3, 22, 12, 34, 56, 0, time.UTC), Seed: []byte("seed")}

// render executes files given as name, text, ….
func render(t *testing.T, request Request, files ...string) (Result, error) {
	t.Helper()
	dot := map[string]any{"m": map[string]any{"b": 2, "a": 1, "c": 3}}
	var templates []Template
	for i := 0; i < len(files); i += 2 {
		templates = append(templates, Template{Name: files[i], Data: []byte(files[i+1]), Values: dot, Self: map[string]any{"Name": files[i]}})
	}
	return New(4).Render(t.Context(), templates, request)
}

// output renders one expression.
func output(t *testing.T, request Request, expression string) string {
	t.Helper()
	result, err := render(t, request, "c/templates/a.yaml", "{{ "+expression+" }}")
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return result.Files["c/templates/a.yaml"]
}

// TestOutputIsFixed pins what depends on the request: a change here is a change of every artifact that contains such output.
func TestOutputIsFixed(t *testing.T) {
	t.Parallel()
	for expression, want := range fixed {
		if got := output(t, request, expression); got != want {
			t.Errorf("%s: %q, want %q", expression, got, want)
		}
	}
}

var fixed = map[string]string{
	`now`:                                    "2026-03-22 12:34:56 +0000 UTC",
	`now | date "2006-01-02 15:04 MST"`:      "2026-03-22 12:34 UTC",
	`date "15:04" nil`:                       "12:34",
	`dateInZone "15:04 MST" now "Local"`:     "12:34 UTC",
	`dateInZone "15:04 MST" now ""`:          "12:34 UTC",
	`date_in_zone "15:04" now "Asia/Tokyo"`:  "21:34",
	`dateInZone "15:04" now "../UTC"`:        "12:34",
	`htmlDate "x"`:                           "2026-03-22",
	`htmlDateInZone now "Pacific/Auckland"`:  "2026-03-23",
	`ago (toDate "2006-01-02" "2026-03-22")`: "12h34m56s",
	`ago 0`:                                  "492828h34m56s",
	`ago "x"`:                                "0s",
	`durationRound (toDate "2006" "2020")`:   "6y",
	`toDate "2006-01-02" "2020-03-04"`:       "2020-03-04 00:00:00 +0000 UTC",
	`mustToDate "15:04 -0700" "01:02 +0300"`: "0000-01-01 01:02:00 +0300 +0300",
	`keys .m`:                                "[a b c]",
	`values .m`:                              "[1 2 3]",
	`keys (dict "z" 1) .m`:                   "[z a b c]",
	`randAlphaNum 12`:                        "RMv8HaLh5m3Z",
	`randAlpha 5`:                            "jidCJ",
	`randNumeric 5`:                          "50903",
	`randAscii 8`:                            "/9tkFIyJ",
	`randBytes 9`:                            "/xQGk0/qzZ9y",
	`randInt 0 1000`:                         "615",
	`randInt -5 5`:                           "0",
	`shuffle "abcdefg"`:                      "bdagecf",
	`uuidv4`:                                 "ff140693-4fea-4d9f-b201-f8e7f089174c",
	`bcrypt "password"`:                      "$2a$10$9vOEiy9oxX7w.dhl6GiVR.HTemdjgKqjCDd4cI3GNDGbtQOFvP09e",
	`encryptAES "key" "text"`:                "/xQGk0/qzZ9yAfjn8IkXTBDxJ+pHoBd9/hoINr5f30I=",
	`print (randAlpha 2) (randAlpha 2) (randInt 0 10)`: "jidC3",
	`fromYaml "{1: a, '1': b}"`:                        `map[Error:error converting YAML to JSON: key "1" is given twice, once quoted and once not]`,
	`fromYaml "{1: a, 2.5: b, yes: c}"`:                "map[1:a 2.5:b true:c]",
	`fromYaml "{.nan: a, .inf: b, -.inf: c}"`:          "map[-.inf:c .inf:b .nan:a]",
	`fromYaml "{~: a}"`:                                "map[Error:error converting YAML to JSON: unsupported map key of type: <nil>, key: <nil>]",
}

// TestNothingOfTheHost renders in processes of other surroundings.
func TestNothingOfTheHost(t *testing.T) {
	t.Parallel()
	if os.Getenv("LOCKAGE_OUTPUT") != "" {
		for expression := range fixed {
			fmt.Printf("OUTPUT %s\x00%q\n", expression, output(t, request, expression))
		}
		return
	}
	zones := t.TempDir()
	if err := os.WriteFile(zones+"/Asia", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNothingOfTheHost$")
	cmd.Env = []string{"LOCKAGE_OUTPUT=1", "TZ=Asia/Tokyo", "ZONEINFO=" + zones, "LANG=tr_TR.UTF-8", "LC_ALL=tr_TR.UTF-8", "GOMAXPROCS=1", "GOGC=1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := regexp.MustCompile(`(?m)^OUTPUT (.*)\x00(.*)$`).FindAllStringSubmatch(string(out), -1)
	if len(lines) != len(fixed) {
		t.Fatalf("%d lines of %d:\n%s", len(lines), len(fixed), out)
	}
	for _, line := range lines {
		if want := fmt.Sprintf("%q", output(t, request, line[1])); line[2] != want {
			t.Errorf("%s: %s, here %s", line[1], line[2], want)
		}
	}
}

// TestStreams: random numbers are those of a seed and a template, whatever other templates draw.
func TestStreams(t *testing.T) {
	t.Parallel()
	const text = "{{ randAlphaNum 20 }}"
	file := func(request Request, name string, files ...string) string {
		result, err := render(t, request, files...)
		if err != nil || !result.Random {
			t.Fatal(err, result.Random)
		}
		return result.Files[name]
	}
	alone := file(request, "c/a", "c/a", text)
	included := []string{"c/a", `{{ include "x" . }}`, "c/_h", `{{ define "x" }}` + text + "{{ end }}", "c/b", text, "c/z/y", text}
	if got := file(request, "c/a", included...); got != alone {
		t.Errorf("%s with others, %s alone", got, alone)
	}
	if got := file(request, "c/b", included...); got == alone {
		t.Error("two templates draw the same")
	}
	other := request
	other.Seed = []byte("seeds")
	if got := file(other, "c/a", "c/a", text); got == alone {
		t.Error("two seeds give the same")
	}
}

// TestRedraw: what is drawn again is never what was drawn first, in whatever form it is printed.
func TestRedraw(t *testing.T) {
	t.Parallel()
	again := request
	again.Redraw = true
	for _, expression := range []string{
		`randInt 0 2`, `randNumeric 1`, `randAlpha 1 | lower`, `randAlphaNum 1 | upper`, `randAscii 1`, `randBytes 1`, `shuffle "ab"`, `uuidv4`,
		`bcrypt ""`, `htpasswd "a" ""`, `encryptAES "" "a"`,
	} {
		seeds := 20
		if strings.HasPrefix(expression, "bcrypt") || strings.HasPrefix(expression, "htpasswd") {
			seeds = 1 // They are slow by design.
		}
		for seed := range seeds {
			request, again := request, again
			request.Seed, again.Seed = []byte{byte(seed)}, []byte{byte(seed)}
			if output(t, request, expression) == output(t, again, expression) {
				t.Errorf("%s: the same", expression)
			}
		}
	}
}

func TestPasswordHashes(t *testing.T) {
	t.Parallel()
	for _, password := range []string{"", "a", "pässword", strings.Repeat("x", 72)} {
		hash := output(t, request, fmt.Sprintf("bcrypt %q", password))
		if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)); err != nil {
			t.Errorf("%q: %s: %v", password, hash, err)
		}
		if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password+"x")); err == nil && len(password) < 72 {
			t.Errorf("%s is the hash of another password", hash)
		}
	}
	if got := output(t, request, fmt.Sprintf("bcrypt %q", strings.Repeat("x", 73))); got != "failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes" {
		t.Error(got)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"address of a map":     {`{{ printf "%p" .m }}`, `c/templates/a.yaml:1:3: <printf "%p" .m>: error calling printf: %p prints an address in memory`},
		"address in a list":    {`{{ printf "%d" (list (semver "1.2.3")) }}`, "prints addresses in memory of a []interface {}"},
		"Go syntax":            {`{{ printf "%#v" (list (semver "1.2.3")) }}`, "prints addresses in memory"},
		"no verb":              {`{{ printf "a" (list (semver "1.2.3")) }}`, "prints addresses in memory"},
		"bad verb":             {`{{ printf "%!" (toDate "-0700" "+0100") }}`, "prints addresses in memory of a time.Time"},
		"merge":                {`{{ merge (dict "a" (semver "1.2.3")) (dict "a" (dict "b" 1)) }}`, "error calling merge: the maps have values of different types at one key"},
		"environment":          {`{{ env "HOME" }}`, `c/templates/a.yaml:1: function "env" not defined`},
		"key":                  {"\n {{ genPrivateKey `ed25519` }}", "c/templates/a.yaml:2:4: <genPrivateKey `ed25519`>: error calling genPrivateKey: it makes a new key or certificate in every render"},
		"certificate":          {`{{ (genCA "a" 1).Cert }}`, "render.nondeterminism: allow"},
		"required":             {`{{ define "x" }}{{ required "name it" .none }}{{ end }}{{ include "x" . }}`, "c/templates/a.yaml:1:58: name it"},
		"fail":                 {`{{ tpl "{{ fail .x }}" (dict "x" "on purpose") }}`, "c/templates/a.yaml:1:3: on purpose"},
		"itself":               {`{{ define "x" }}{{ include "x" . }}{{ end }}{{ include "x" . }}`, "template x includes itself more than 1000 deep"},
		"text within itself":   {`{{ $s := "{{ tpl .s . }}" }}{{ tpl $s (dict "s" $s) }}`, "texts call tpl within each other more than 1000 deep"},
		"defined within":       {`{{ $s := "{{ define ` + "`y`" + ` }}{{ end }}{{ tpl .s . }}" }}{{ tpl $s (dict "s" $s) }}`, "texts call tpl within each other more than 1000 deep"},
		"random of nothing":    {`{{ randInt 2 2 }}`, "no number is at least 2 and less than 2"},
		"negative random":      {`{{ randBytes -1 }}`, "the number of bytes is -1"},
		"several, each in all": {strings.Repeat(" ", 3) + `{{ include "none" . }}`, `no template "none" associated with template "gotpl"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := render(t, request, "c/templates/a.yaml", c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "c/templates/a.yaml:") {
				t.Errorf("got  %.500v\nwant %s", err, c.want)
			}
		})
	}
}

// TestDeepInclusion: each of many templates includes the next, and the last the first.
func TestDeepInclusion(t *testing.T) {
	t.Parallel()
	const circle = 50
	var text strings.Builder
	for i := range circle {
		fmt.Fprintf(&text, `{{ define "x%d" }}{{ include "x%d" . }}{{ end }}`, i, (i+1)%circle)
	}
	_, err := render(t, request, "c/templates/a.yaml", text.String()+`{{ include "x0" . }}`)
	if err == nil || !strings.Contains(err.Error(), "templates call each other by include and tpl more than 5000 deep") || len(err.Error()) > 3000 {
		t.Errorf("%.500v", err)
	}
}

func TestPrintfOfOthers(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		`printf "%v %s %q %x" (semver "1.2.3") (list (semver "1.2.3")) "a" now`: "1.2.3 [1.2.3] \"a\" 323032362d30332d32322031323a33343a3536202b303030302055544",
		`printf "%d %v %%p" 1 .m`:                 "1 map[a:1 b:2 c:3] %p",
		`printf "%#v" .m`:                         `map[string]interface {}{"a":1, "b":2, "c":3}`,
		`printf "%[2]*[1]d" 2 5`:                  "    2",
		`printf "%v" (toDate "-0700" "+0100")`:    "0000-01-01 00:00:00 +0100 +0100",
		`printf "%T %t %v" now true nil`:          "time.Time true <nil>",
		`printf "%s" (dict "a" (list 1 nil 2))`:   "map[a:[%!s(int=1) <nil> %!s(int=2)]]",
		`tpl "{{ printf \"%d\" 3 }}" .`:           "3",
		`print (list (semver "1.2.3") now (1.5))`: "[1.2.3 2026-03-22 12:34:56 +0000 UTC 1.5]",
	} {
		if got := output(t, request, expression); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", expression, got, want)
		}
	}
}

func TestGeneratorsAreAllowed(t *testing.T) {
	t.Parallel()
	allowed := request
	allowed.Generate = true
	for expression, want := range map[string]string{
		`genPrivateKey "ecdsa"`: "-----BEGIN EC PRIVATE KEY-----",
		`$k := genPrivateKey "ed25519" }}{{ $ca := genCAWithKey "ca" 1 $k }}{{ (genSignedCertWithKey "a" nil (list "a.b") 1 $ca $k).Cert`: "-----BEGIN CERTIFICATE-----",
		`(genSelfSignedCertWithKey "a" nil nil 1 (genPrivateKey "ed25519")).Cert`:                                                         "-----BEGIN CERTIFICATE-----",
		`$ca := genCA "ca" 1 }}{{ (genSignedCert "a" nil nil 1 $ca).Key`:                                                                  "-----BEGIN RSA PRIVATE KEY-----",
		`(genSelfSignedCert "a" nil nil 1).Cert`:                                                                                          "-----BEGIN CERTIFICATE-----",
	} {
		result, err := render(t, allowed, "c/a", "{{ "+expression+" }}")
		if err != nil || !result.Generated || result.Random || !strings.HasPrefix(result.Files["c/a"], want) {
			t.Errorf("%s: %v %+v", expression, err, result)
		}
	}
}
