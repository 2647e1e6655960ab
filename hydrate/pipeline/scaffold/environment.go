package scaffold

import (
	"regexp"
	"slices"
	"strings"
)

// The order of environments: a release goes through the lower ones first.
const (
	development = iota
	testing
	staging
	preproduction
	production
)

// environments are the words that name one.
var environments = map[string]int{
	"dev": development, "devel": development, "develop": development, "development": development, "local": development, "sandbox": development, "preview": development,
	"non": testing, "nonprod": testing, "int": testing, "integration": testing, "test": testing, "testing": testing, "ci": testing, "qa": testing, "uat": testing, "load": testing, "perf": testing, "demo": testing,
	"staging": staging, "stage": staging, "stg": staging,
	"preprod": preproduction, "preproduction": preproduction, "pre": preproduction, "canary": preproduction,
	"production": production, "prod": production, "prd": production, "live": production,
}

// collections are folders whose subfolders are environments, whatever their names.
var collections = []string{"overlays", "overlay", "envs", "env", "environments", "environment", "stages"}

// generic are names of folders that say nothing about the application in them.
var generic = []string{".", "deploy", "deployment", "deployments", "k8s", "kubernetes", "kustomize", "manifests", "config", "helm", "chart", "charts", "base", "bases", "infra", "app", "src", "default"}

// maxWords bounds the words of an environment's name: a longer one is an application's.
const maxWords = 3

// environment returns the place of an environment in the order, by the first and last words of its name: pre-prod is before prod.
func environment(name string) (place int, known bool) {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return strings.ContainsRune("-_.", r) })
	if len(words) > maxWords {
		return 0, false
	}
	for i, word := range words {
		at, ok := environments[word]
		if ok = ok && (i == 0 || i == len(words)-1 || i == 1 && words[0] == "non"); ok && (!known || at < place) {
			place, known = at, true
		}
	}
	return place, known
}

// order sorts the stages of a draft and makes each come after those of the environment before. A stage with the region or cluster of an
// earlier one comes after that alone. All but the last environment are promoted to as soon as that
// is possible.
func order(stages []Stage) {
	places := map[string]int{}
	for _, s := range stages {
		place, known := environment(s.Name)
		if !known {
			place = production
		}
		places[s.Name] = place
	}
	slices.SortStableFunc(stages, func(a, b Stage) int { return places[a.Name] - places[b.Name] })
	var counting []Stage
	last := development
	for _, s := range stages {
		if s.Off == "" {
			counting, last = append(counting, s), places[s.Name]
		}
	}
	for i := range stages {
		s := &stages[i]
		before := -1
		for _, other := range counting {
			if at := places[other.Name]; at < places[s.Name] && at > before {
				before = at
			}
		}
		s.after, s.Auto = nil, places[s.Name] < last
		for _, other := range counting {
			if before >= 0 && places[other.Name] == before {
				s.after = append(s.after, other.Name)
			}
		}
		if twin := slices.IndexFunc(s.after, func(other string) bool { return variant(other) == variant(s.Name) }); twin >= 0 {
			s.after = s.after[twin : twin+1]
		}
	}
}

// variant returns what is left of a stage's name without the words of an environment, such as the region.
func variant(stage string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(stage, "-"), func(word string) bool {
		_, known := environments[word]
		return known
	}), "-")
}

var unnamed = regexp.MustCompile(`[^a-z0-9-]+`)

// maxName bounds the name of a pipeline.
const maxName = 63

// slug makes a name of a pipeline or stage of any text.
func slug(text string) string {
	name := strings.Trim(unnamed.ReplaceAllString(strings.ToLower(text), "-"), "-")
	return strings.TrimRight(name[:min(len(name), maxName)], "-")
}

// maxStage bounds the name of a stage.
const maxStage = 36

// collects reports whether the subfolders of a folder are environments.
func collects(folder string) bool { return slices.Contains(collections, strings.ToLower(folder)) }

// names reports whether the name of a folder may be that of an application.
func names(folder string) bool {
	return !collects(folder) && !slices.Contains(generic, strings.ToLower(folder))
}

// says reports whether the name of a folder says what application is in it, and not which environment.
func says(folder string) bool {
	_, known := environment(folder)
	return !known && names(folder)
}
