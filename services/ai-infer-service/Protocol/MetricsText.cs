using System.Globalization;
using System.Text;
using Yizhan.AiInfer.Engine;

namespace Yizhan.AiInfer.Protocol;

/// <summary>Figures of the loaded models in Prometheus' text format, under Triton's names.</summary>
internal static class MetricsText
{
    private static readonly double[] Quantiles = [0.5, 0.9, 0.95, 0.99, 0.999];

    public static string Write(IReadOnlyList<ModelRunner> runners)
    {
        var text = new StringBuilder();
        var views = runners.Select(r => (Labels: $"model=\"{r.Name}\",version=\"{r.Version}\"", View: r.Statistics.View(), r.Pending)).ToArray();
        void Family(string name, string type, string help, Func<StatisticsView, long> value)
        {
            text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {type}\n");
            foreach (var (labels, view, _) in views)
            {
                text.Append(CultureInfo.InvariantCulture, $"{name}{{{labels}}} {value(view)}\n");
            }
        }

        Family("nv_inference_request_success", "counter", "Number of successful inference requests, all batch sizes", v => v.Success.Count);
        text.Append("# HELP nv_inference_request_failure Number of failed inference requests\n# TYPE nv_inference_request_failure counter\n");
        foreach (var (labels, view, _) in views)
        {
            foreach (var reason in Enum.GetValues<FailureReason>())
            {
                text.Append(CultureInfo.InvariantCulture, $"nv_inference_request_failure{{{labels},reason=\"{reason.ToString().ToUpperInvariant()}\"}} {view.Failures.GetValueOrDefault(reason)}\n");
            }
        }

        Family("nv_inference_count", "counter", "Number of inferences performed (does not include cached requests)", v => v.InferenceCount);
        Family("nv_inference_exec_count", "counter", "Number of model executions performed (does not include cached requests)", v => v.ExecutionCount);
        Family("nv_inference_request_duration_us", "counter", "Cumulative inference request duration in microseconds", v => v.Success.Ns / 1000);
        Family("nv_inference_queue_duration_us", "counter", "Cumulative inference queuing duration in microseconds", v => v.Queue.Ns / 1000);
        Family("nv_inference_compute_input_duration_us", "counter", "Cumulative compute input duration in microseconds", v => v.ComputeInput.Ns / 1000);
        Family("nv_inference_compute_infer_duration_us", "counter", "Cumulative compute inference duration in microseconds", v => v.ComputeInfer.Ns / 1000);
        Family("nv_inference_compute_output_duration_us", "counter", "Cumulative inference compute output duration in microseconds", v => v.ComputeOutput.Ns / 1000);
        text.Append("# HELP nv_inference_pending_request_count Instantaneous number of pending requests awaiting execution per-model\n# TYPE nv_inference_pending_request_count gauge\n");
        foreach (var (labels, _, pending) in views)
        {
            text.Append(CultureInfo.InvariantCulture, $"nv_inference_pending_request_count{{{labels}}} {pending}\n");
        }

        text.Append("# HELP nv_inference_request_summary_us Summary of inference request duration in microseconds, over the last 1024\n# TYPE nv_inference_request_summary_us summary\n");
        foreach (var (labels, view, _) in views)
        {
            var sorted = view.RecentMs.Order().ToArray();
            foreach (var quantile in sorted.Length == 0 ? [] : Quantiles)
            {
                var value = sorted[Math.Min(sorted.Length - 1, (int)(quantile * sorted.Length))] * 1000;
                text.Append(CultureInfo.InvariantCulture, $"nv_inference_request_summary_us{{{labels},quantile=\"{quantile}\"}} {value:0}\n");
            }

            text.Append(CultureInfo.InvariantCulture, $"nv_inference_request_summary_us_count{{{labels}}} {view.Success.Count}\nnv_inference_request_summary_us_sum{{{labels}}} {view.Success.Ns / 1000}\n");
        }

        text.Append(CultureInfo.InvariantCulture, $"# HELP nv_cpu_memory_used_bytes CPU used memory in bytes\n# TYPE nv_cpu_memory_used_bytes gauge\nnv_cpu_memory_used_bytes {Environment.WorkingSet}\n");
        return text.ToString();
    }
}
