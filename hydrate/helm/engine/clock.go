package engine

import (
	"archive/zip"
	_ "embed" // for the time zones
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"
)

// now returns the time of the render, in UTC.
func (r *run) now() time.Time { return r.request.Clock.UTC() }

// moment returns the time that a template means by a value: seconds since 1970, or the present time for anything else.
func (r *run) moment(date any) time.Time {
	switch date := date.(type) {
	case time.Time:
		return date
	case *time.Time:
		return *date
	case int64:
		return time.Unix(date, 0)
	case int:
		return time.Unix(int64(date), 0)
	case int32:
		return time.Unix(int64(date), 0)
	}
	return r.now()
}

func (r *run) dateInZone(layout string, date any, name string) string {
	return r.moment(date).In(zone(name)).Format(layout)
}

func (r *run) date(layout string, date any) string { return r.dateInZone(layout, date, "UTC") }

func (r *run) htmlDate(date any) string { return r.date(time.DateOnly, date) }

func (r *run) htmlDateInZone(date any, name string) string {
	return r.dateInZone(time.DateOnly, date, name)
}

// ago returns the time since a date, to the second. Unlike date, it does not know 32-bit integers.
func (r *run) ago(date any) string {
	switch date.(type) {
	case *time.Time, int32:
		date = nil
	}
	return r.now().Sub(r.moment(date)).Round(time.Second).String()
}

// durationRound returns the largest unit of a duration, or of the time since a date.
func (r *run) durationRound(duration any) string {
	var d time.Duration
	switch duration := duration.(type) {
	case string:
		d, _ = time.ParseDuration(duration)
	case int64:
		d = time.Duration(duration)
	case time.Time:
		d = r.now().Sub(duration)
	}
	if d < 0 {
		d = max(-d, -math.MaxInt64)
	}
	const day = 24 * time.Hour
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{365 * day, "y"}, {30 * day, "mo"}, {day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d > unit.length {
			return strconv.FormatInt(int64(d/unit.length), 10) + unit.name
		}
	}
	return "0s"
}

// toDate parses a date. One without a zone is in UTC.
func toDate(layout, text string) time.Time {
	date, _ := mustToDate(layout, text)
	return date
}

func mustToDate(layout, text string) (time.Time, error) {
	return time.ParseInLocation(layout, text, time.UTC)
}

// zoneinfo is lib/time/zoneinfo.zip of Go 1.26, the IANA Time Zone Database 2025c: hosts have other versions, or none.
//
//go:embed zoneinfo.zip
var zoneinfo string

// zone returns a time zone by name. Local, and any that does not exist, is UTC.
func zone(name string) *time.Location {
	if name == "UTC" {
		return time.UTC
	}
	archive, err := zip.NewReader(strings.NewReader(zoneinfo), int64(len(zoneinfo)))
	if err != nil {
		return time.UTC
	}
	data, err := fs.ReadFile(archive, name)
	if err != nil {
		return time.UTC
	}
	location, err := time.LoadLocationFromTZData(name, data)
	if err != nil {
		return time.UTC
	}
	return location
}
