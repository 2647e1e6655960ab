package engine

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// helm4 are the functions that Helm 4 has beyond those of Helm 3.
var helm4 = template.FuncMap{
	"mustToYaml": encodeYAML, "mustToJson": encodeJSON, "mustToToml": encodeTOML,

	"mustToDuration":       asDuration,
	"durationSeconds":      inUnit(time.Duration.Seconds),
	"durationMilliseconds": inUnit(time.Duration.Milliseconds),
	"durationMicroseconds": inUnit(time.Duration.Microseconds),
	"durationNanoseconds":  inUnit(time.Duration.Nanoseconds),
	"durationMinutes":      inUnit(time.Duration.Minutes),
	"durationHours":        inUnit(time.Duration.Hours),
	"durationDays":         inUnit(func(d time.Duration) float64 { return d.Hours() / 24 }),
	"durationWeeks":        inUnit(func(d time.Duration) float64 { return d.Hours() / 24 / 7 }),
	"durationRoundTo":      toMultiple(time.Duration.Round),
	"durationTruncateTo":   toMultiple(time.Duration.Truncate),
}

// inUnit returns a function that converts a duration to a number, and anything else to 0.
func inUnit[N int64 | float64](convert func(time.Duration) N) func(any) N {
	return func(v any) N {
		d, err := asDuration(v)
		if err != nil {
			return 0
		}
		return convert(d)
	}
}

// toMultiple returns a function that brings a duration to a multiple of another one.
func toMultiple(round func(d, of time.Duration) time.Duration) func(v, of any) time.Duration {
	return func(v, of any) time.Duration {
		d, err := asDuration(v)
		if err != nil {
			return 0
		}
		multiple, err := asDuration(of)
		if err != nil {
			return d
		}
		return round(d, multiple)
	}
}

// asDuration reads a duration: one of Go, or a number of seconds, as a number or a string.
func asDuration(v any) (time.Duration, error) {
	switch v := v.(type) {
	case time.Duration:
		return v, nil
	case string:
		text := strings.TrimSpace(v)
		if d, err := time.ParseDuration(text); err == nil {
			return d, nil
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return fromSeconds(f)
		}
		return 0, fmt.Errorf("could not parse duration %q", v)
	case nil:
		return 0, errors.New("invalid duration")
	}
	switch v := reflect.ValueOf(v); {
	case v.CanInt():
		return fromWholeSeconds(v.Int())
	case v.CanUint():
		if v.Uint() > math.MaxInt64 {
			return 0, fmt.Errorf("duration seconds overflow: %d", v.Uint())
		}
		return fromWholeSeconds(int64(v.Uint())) //nolint:gosec // compared above
	case v.CanFloat():
		return fromSeconds(v.Float())
	}
	return 0, fmt.Errorf("unsupported duration type %T", v)
}

func fromWholeSeconds(seconds int64) (time.Duration, error) {
	const most = math.MaxInt64 / int64(time.Second)
	if seconds > most || seconds < -most {
		return 0, fmt.Errorf("duration seconds overflow: %d", seconds)
	}
	return time.Duration(seconds) * time.Second, nil
}

func fromSeconds(seconds float64) (time.Duration, error) {
	const most = float64(math.MaxInt64) / float64(time.Second)
	nanoseconds := seconds * float64(time.Second)
	if !(-most <= seconds && seconds <= most) || nanoseconds >= 1<<63 {
		return 0, fmt.Errorf("duration seconds overflow: %v", seconds)
	}
	return time.Duration(nanoseconds), nil
}
