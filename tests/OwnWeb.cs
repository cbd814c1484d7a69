using System.Diagnostics;
using System.Globalization;

namespace Yizhan;

/// <summary>Where a process that was given port 0 answers: its listening sockets are asked, so that no port is taken between choosing and using it.</summary>
internal static class OwnWeb
{
    /// <summary>The address that answers the health check over plain HTTP; null while none does.</summary>
    public static async Task<Uri?> FindAsync(Process process)
    {
        foreach (var port in Ports(process.Id))
        {
            using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { Timeout = TimeSpan.FromSeconds(30) };
            var address = new Uri($"http://127.0.0.1:{port}/");
            try
            {
                using var answer = await http.GetAsync(new Uri(address, "healthz"), TestContext.Current.CancellationToken);
                if (answer.IsSuccessStatusCode)
                {
                    return address;
                }
            }
            catch (Exception e) when (e is HttpRequestException or TaskCanceledException && !TestContext.Current.CancellationToken.IsCancellationRequested)
            {
                // It speaks something else, or not yet.
            }
        }

        return null;
    }

    private static int[] Ports(int process)
    {
        try
        {
            var own = Directory.GetFiles($"/proc/{process}/fd").Select(file => new FileInfo(file).LinkTarget).Where(target => target?.StartsWith("socket:[", StringComparison.Ordinal) == true)
                .Select(target => target![8..^1]).ToHashSet();

            // proc(5): the local address is the second column, the state the fourth (0A: listening), the inode the tenth.
            return [.. File.ReadLines($"/proc/{process}/net/tcp").Skip(1).Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Where(c => c[3] == "0A" && own.Contains(c[9]))
                .Select(c => int.Parse(c[1].Split(':')[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture))];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
