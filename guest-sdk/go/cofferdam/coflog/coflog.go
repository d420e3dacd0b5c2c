// Package coflog lets log/slog write to the operator's log:
//
//	slog.SetDefault(slog.New(coflog.Handler(slog.LevelInfo)))
//
// It is a package of its own because log/slog makes an operator larger.
package coflog

import (
	"bytes"
	"context"
	"log/slog"

	"cofferdam"
)

// Handler writes what is at least as important as a level, as text: the message, and then the
// attributes. The host adds the time.
func Handler(least slog.Leveler) slog.Handler {
	h := &handler{}
	h.text = slog.NewTextHandler(&h.line, &slog.HandlerOptions{Level: least, ReplaceAttr: replace})
	h.shared = &h.line
	return h
}

type handler struct {
	text   slog.Handler
	line   bytes.Buffer
	shared *bytes.Buffer
}

// What the host knows, or what stands before the attributes, is left out.
func replace(groups []string, attr slog.Attr) slog.Attr {
	if len(groups) == 0 && (attr.Key == slog.TimeKey || attr.Key == slog.LevelKey || attr.Key == slog.MessageKey) {
		return slog.Attr{}
	}
	return attr
}

func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.text.Enabled(ctx, level)
}

func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	h.shared.Reset()
	if err := h.text.Handle(ctx, record); err != nil {
		return err
	}
	line := record.Message
	if attrs := bytes.TrimSpace(h.shared.Bytes()); len(attrs) > 0 {
		line += " " + string(attrs)
	}
	cofferdam.Log(levelOf(record.Level), line)
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{text: h.text.WithAttrs(attrs), shared: h.shared}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{text: h.text.WithGroup(name), shared: h.shared}
}

func levelOf(level slog.Level) cofferdam.Level {
	switch {
	case level < slog.LevelDebug:
		return cofferdam.LevelTrace
	case level < slog.LevelInfo:
		return cofferdam.LevelDebug
	case level < slog.LevelWarn:
		return cofferdam.LevelInfo
	case level < slog.LevelError:
		return cofferdam.LevelWarn
	}
	return cofferdam.LevelError
}
