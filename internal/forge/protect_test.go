package forge

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// TestProtections reads rules as the documentation of each forge shows them. Gitea's are tried on a real one, too, in package e2e.
func TestProtections(t *testing.T) {
	t.Parallel()
	branches := []string{"main", "live/web/production", "other"}
	answer := func(value any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, value) }
	}
	type object = map[string]any
	type list = []any
	for name, test := range map[string]struct {
		kind  Kind
		serve func(f *fake)
		want  []Protection
	}{
		"github": {GitHub, func(f *fake) {
			f.on("GET /api/v3/repos/acme/env", answer(object{"allow_rebase_merge": true}))
			f.on("GET /api/v3/repos/acme/env/rules/branches/{branch}", func(w http.ResponseWriter, r *http.Request) {
				switch r.PathValue("branch") {
				case "main":
					reply(w, 200, list{object{"type": "pull_request", "parameters": object{"allowed_merge_methods": list{"merge", "squash"}}}, object{"type": "non_fast_forward"}})
				case "live/web/production":
					reply(w, 200, list{object{"type": "update"}, object{"type": "deletion"}, object{"type": "non_fast_forward"}})
				default:
					reply(w, 200, list{})
				}
			})
			f.on("GET /api/v3/repos/acme/env/branches/{branch}/protection", func(w http.ResponseWriter, r *http.Request) {
				switch r.PathValue("branch") {
				case "main":
					reply(w, 403, object{"message": "Resource not accessible by integration"})
				case "other":
					reply(w, 200, object{"restrictions": object{"users": list{object{"login": "bot"}}, "apps": list{object{"slug": "ci"}}}, "allow_force_pushes": object{"enabled": true}})
				default:
					reply(w, 404, object{"message": "Branch not protected"})
				}
			})
		}, []Protection{
			{Covered: true, Delete: true},
			{Covered: true, Rebase: true},
			{Covered: true, Force: true, Pushers: []string{"bot", "ci"}, Rebase: true},
		}},
		"gitlab": {GitLab, func(f *fake) {
			f.on("GET /api/v4/projects/{project}", answer(object{"merge_method": "ff"}))
			f.on("GET /api/v4/projects/{project}/protected_branches", answer(list{
				object{"name": "main", "push_access_levels": list{object{"access_level": 0, "access_level_description": "No one"}}},
				object{"name": "live/*", "push_access_levels": list{object{"access_level": 40, "user_id": 7, "access_level_description": "bot"}}},
				object{"name": "*/production", "allow_force_push": true, "push_access_levels": list{object{"access_level": 30, "access_level_description": "Developers + Maintainers"}}},
			}))
		}, []Protection{
			{Covered: true, Rebase: true},
			{Covered: true, Anybody: true, Pushers: []string{"bot"}, Force: true, Rebase: true},
			{Anybody: true, Force: true, Delete: true, Rebase: true},
		}},
		"gitea": {Gitea, func(f *fake) {
			f.on("GET /api/v1/repos/acme/env", answer(object{"allow_rebase": false, "allow_rebase_explicit": true}))
			f.on("GET /api/v1/repos/acme/env/branch_protections", answer(list{
				object{"rule_name": "main", "enable_push": false},
				object{"rule_name": "live/*", "enable_push": true},
				object{"rule_name": "live/**", "enable_push": true, "enable_push_whitelist": true, "push_whitelist_usernames": list{"bot"}, "push_whitelist_deploy_keys": true, "enable_force_push": true},
				object{"rule_name": "live/web/production", "enable_push": true},
			}))
		}, []Protection{
			{Covered: true},
			{Covered: true, Pushers: []string{"bot", "deploy keys"}, Force: true},
			{Anybody: true, Force: true, Delete: true},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			test.serve(f)
			got, err := f.open(t, test.kind).Protections(t.Context(), branches)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				if !reflect.DeepEqual(got[i], test.want[i]) {
					t.Errorf("%s: %+v, want %+v", branches[i], got[i], test.want[i])
				}
			}
		})
	}
}

// TestProtectionsRefused has a token that may not read rules.
func TestProtectionsRefused(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{GitHub, GitLab, Gitea} {
		f := newFake(t)
		f.on("GET /", func(w http.ResponseWriter, _ *http.Request) { reply(w, 403, map[string]any{"message": "no"}) })
		if _, err := f.open(t, kind).Protections(t.Context(), []string{"main"}); err == nil || !strings.Contains(err.Error(), "to administrators: ") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestProtectionHidden has a token of a user without administration, to whom GitHub says that there is nothing.
func TestProtectionHidden(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.on("GET /api/v3/repos/acme/env", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, map[string]any{}) })
	f.on("GET /api/v3/repos/acme/env/rules/branches/{branch}", func(w http.ResponseWriter, r *http.Request) {
		rules := []any{}
		if r.PathValue("branch") == "main" {
			rules = append(rules, map[string]any{"type": "update"})
		}
		reply(w, 200, rules)
	})
	hidden := "Not Found"
	f.on("GET /api/v3/repos/acme/env/branches/{branch}/protection", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 404, map[string]any{"message": hidden})
	})
	repository := f.open(t, GitHub)
	if got, err := repository.Protections(t.Context(), []string{"main"}); err != nil || !got[0].Covered {
		t.Errorf("a ruleset protects it: %+v, %v", got, err)
	}
	if got, err := repository.Protections(t.Context(), []string{"other"}); err == nil || !strings.Contains(err.Error(), "to administrators: ") {
		t.Errorf("%+v, %v", got, err)
	}
	hidden = "Branch not found"
	if got, err := repository.Protections(t.Context(), []string{"other"}); err != nil || got[0].Covered {
		t.Errorf("%+v, %v", got, err)
	}
}
